/**
 * One request as the log tells it. Of the address only the route: the path holds job ids and the query a webhook's
 * key, and whoever has a file's name may see the picture.
 */
export interface Access {
  /** When it came. */
  time: Date;
  method: string;
  /** `-` for an address that is none. */
  route: string;
  /** 499 for a caller who left before the end. */
  status: number;
  milliseconds: number;
  subject: string | undefined;
}

/** A line for people. */
export function accessLine({ time, method, route, status, milliseconds, subject }: Access): string {
  return `${time.toISOString()} ${method} ${route} ${status} ${milliseconds} ms ${subject ?? "-"}`;
}

/** A line for programs. */
export function accessJson({ time, milliseconds, subject, ...rest }: Access): string {
  const { method, route, status } = rest;
  return JSON.stringify({ time: time.toISOString(), method, route, status, ms: milliseconds, subject });
}

import { isLayerDiffuseError } from "../errors.ts";
import type { ProxyErrorContext } from "../proxy/index.ts";
import { messageOf } from "./failures.ts";

/** Of what went wrong behind the server, as much as fits a line. */
const longestReason = 300;

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

/** What a worker says, or RunPod of a request, may repeat what was asked for. */
const isAboutInput = /^(job_|generation_|bad_request)/;

/** Why the server could not do what it was asked, for its owner, on one line: no key, no prompt. */
export function troubleLine(
  error: unknown,
  { route = "-", subject = "-", status }: ProxyErrorContext,
  apiKey: string,
): string {
  const code = isLayerDiffuseError(error) ? error.code : "unexpected";
  const beginning = `${new Date().toISOString()} ${route} ${status} ${subject}: ${code}`;
  if (isAboutInput.test(code)) return beginning;
  const reason = messageOf(error)
    .replaceAll(apiKey, "…")
    .replace(/[\s\p{Cc}]+/gu, " ")
    .slice(0, longestReason);
  return `${beginning}: ${reason}`;
}

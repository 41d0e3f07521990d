import { isLayerDiffuseError } from "../../errors/index.ts";
import type { ProxyErrorContext } from "../../proxy/index.ts";
import { messageOf } from "../terminal/failures.ts";

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

interface Trouble {
  time: string;
  route: string;
  status: number;
  subject: string;
  code: string;
  reason?: string;
}

/** Why the server could not do what it was asked, for its owner: no key, no prompt. */
function troubleOf(error: unknown, context: ProxyErrorContext, apiKey: string): Trouble {
  const { route = "-", subject = "-", status } = context;
  const code = isLayerDiffuseError(error) ? error.code : "unexpected";
  const trouble = { time: new Date().toISOString(), route, status, subject, code };
  if (isAboutInput.test(code)) return trouble;
  const reason = messageOf(error)
    .replaceAll(apiKey, "…")
    .replace(/[\s\p{Cc}]+/gu, " ")
    .slice(0, longestReason);
  return { ...trouble, reason };
}

/** One line for people. */
export function troubleLine(error: unknown, context: ProxyErrorContext, apiKey: string): string {
  const { time, route, status, subject, code, reason } = troubleOf(error, context, apiKey);
  return `${time} ${route} ${status} ${subject}: ${code}${reason === undefined ? "" : `: ${reason}`}`;
}

/** One line for programs. */
export function troubleJson(error: unknown, context: ProxyErrorContext, apiKey: string): string {
  return JSON.stringify(troubleOf(error, context, apiKey));
}

import * as z from "zod/mini";
import type { Submitted } from "../errors/index.ts";
import { read } from "../schema/check.ts";
import { lenient, oneOf } from "../schema/fields.ts";

/* The service's other answers, and those of a proxy of ours, read as loosely as a job. */

const purgeBody = z.object({ removed: z.number() });

/** The body of `POST /purge-queue`. */
export function parsePurge(body: unknown): { removed: number } | undefined {
  return read(purgeBody, body);
}

/** One drained read of `GET /stream/{id}`. */
export interface StreamPart {
  /** Absent where the body is a bare array. */
  status?: string;
  outputs: unknown[];
}

const chunk = z.object({ output: z.unknown() });
const streamBody = z.object({ status: z.string(), stream: lenient(z.array(z.unknown())) });

/** A stream body; `stream` may be missing, null, or (in a documentation sample) the whole body. */
export function parseStream(body: unknown): StreamPart | undefined {
  if (Array.isArray(body)) return { outputs: body.map(chunkOutput) };
  const part = read(streamBody, body);
  return part && { status: part.status, outputs: (part.stream ?? []).map(chunkOutput) };
}

function chunkOutput(item: unknown): unknown {
  const part = read(chunk, item);
  return part ? part.output : item;
}

const anything = z.optional(z.unknown());
const anyBody = z.object({ id: anything, status: anything, error: anything });

/** The bare `{"error": …}` the service sometimes answers with a 200. */
export function bareError(body: unknown): unknown {
  const { id, status, error } = read(anyBody, body) ?? {};
  return id === undefined && status === undefined ? error : undefined;
}

/** The part of a proxy's problem details (RFC 9457) that a client acts on. */
export interface ReportedProblem {
  /** Whether a job was submitted; absent where the call submits nothing. */
  submitted?: Submitted | undefined;
}

const reportedProblem = z.object({ submitted: lenient(oneOf(["no", "unknown", "yes"])) });

/** The body of an `application/problem+json`; empty for anything else. */
export function parseProblem(text: string): ReportedProblem {
  try {
    return read(reportedProblem, JSON.parse(text)) ?? {};
  } catch {
    return {};
  }
}

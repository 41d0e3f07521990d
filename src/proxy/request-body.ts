import type { Clock } from "../runtime/clock.ts";
import { withTimeLimit } from "../runtime/time-limit.ts";
import { read } from "../schema/check.ts";
import { record } from "../schema/fields.ts";
import { badRequest, notBegun, Problem } from "./problem.ts";

/** Our own inputs are at most 4 deep. */
const deepest = 20;
/** The longest time that a caller may take to send a body, in milliseconds. */
const slowest = 10_000;

const anyObject = record();

export interface BodyLimits {
  clock: Clock;
  mostBytes: number;
}

/**
 * Reads a request's body as a JSON object.
 *
 * @throws Problem: 415 for another type or an encoding, 413 for a body that is too large, 408 for one that takes too
 * long, 400 for anything that is not a plain JSON object
 */
export async function readJsonBody(request: Request, limits: BodyLimits): Promise<object> {
  const { headers } = request;
  // Two values, joined by a comma, do not match either.
  if (!/^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(headers.get("content-type") ?? "")) {
    throw badRequest("The body must be JSON: send `content-type: application/json`.", 415);
  }
  const body = read(anyObject, parse(await readTextBody(request, limits)));
  if (!body) throw badRequest("The body must be a JSON object.");
  return body;
}

/** Reads the body as text, and stops as soon as it is over the limit, whatever its `content-length` says. */
export async function readTextBody(request: Request, { clock, mostBytes }: BodyLimits): Promise<string> {
  const { headers, body, signal } = request;
  if (!/^(identity)?$/i.test(headers.get("content-encoding") ?? "")) {
    throw badRequest("The body must not be compressed.", 415);
  }
  const tooLarge = () => badRequest(`The body is larger than ${mostBytes} bytes. Send a smaller one.`, 413);
  if (Number(headers.get("content-length")) > mostBytes) throw tooLarge();
  if (body === null) throw badRequest("The body is empty.");
  const reader = body.getReader();
  const readAll = async () => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      size += part.value.length;
      if (size > mostBytes) throw tooLarge();
      chunks.push(part.value);
    }
    return decode(chunks, size);
  };
  const onLate = () => {
    throw badRequest("The body took too long to arrive. Nothing was submitted.", 408);
  };
  try {
    return await withTimeLimit(readAll, { clock, milliseconds: slowest, signal, onLate });
  } catch (error) {
    // Nobody will read the rest.
    reader.cancel().catch(() => {});
    throw error instanceof Problem ? error : notBegun("The server could not read the body.", error);
  }
}

function decode(chunks: readonly Uint8Array[], size: number): string {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw badRequest("The body is not UTF-8.");
  }
}

function parse(text: string): unknown {
  // Checked before parsing, because not every parser survives a million brackets.
  if (depthOf(text) > deepest) throw badRequest(`The body is nested more than ${deepest} levels deep.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badRequest("The body is not JSON.");
  }
  if (holdsPrototype(value)) throw badRequest("The body has a field named `__proto__`.");
  return value;
}

function depthOf(text: string): number {
  let depth = 0;
  let most = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (isInString) {
      if (character === "\\") at++;
      else if (character === '"') isInString = false;
    } else if (character === '"') isInString = true;
    else if (character === "[" || character === "{") most = Math.max(most, ++depth);
    else if (character === "]" || character === "}") depth--;
  }
  return most;
}

function holdsPrototype(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.hasOwn(value, "__proto__") || Object.values(value).some(holdsPrototype);
}

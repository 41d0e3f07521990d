import * as z from "zod/mini";
import {
  type AnyLayerDiffuseError,
  AuthenticationError,
  ConfigurationError,
  InvalidResponseError,
  isLayerDiffuseError,
} from "../errors/index.ts";
import { decodeImage } from "../image/decode-image.ts";
import type { GeneratedImage } from "../image/generated-image.ts";
import { jobError } from "../protocol/failed-job.ts";
import { isTerminal, type JobState, parseJob } from "../protocol/job.ts";
import { downloadFile } from "../runpod/download.ts";
import { excerpt } from "../runpod/http-errors.ts";
import { withRetries } from "../runpod/retry.ts";
import { realInternals } from "../runtime/clock.ts";
import { checkOptions } from "../schema/check.ts";
import { callback, isObject, strict, text } from "../schema/fields.ts";

export interface ParseWebhookOptions {
  /** The value of `?secret=…` in the webhook's address. The service doesn't sign its calls, so only this proves who called. */
  secret: string;
  /** Downloads the image if the worker answered with a link. Default: the global `fetch`. */
  fetch?: typeof fetch | undefined;
}

const webhookOptions = strict({ secret: text(), fetch: z.optional(callback<typeof fetch>()) });

/** How a job ended, as the service reported it. The service may report the same end more than once: go by `id`. */
export type WebhookEvent = { id: string; state: JobState } & (
  | { image: GeneratedImage; error?: undefined }
  | { error: AnyLayerDiffuseError; image?: undefined }
);

/**
 * Reads the request that the service sends to a job's `webhook` when the job ends. Answer with 2xx, or the service calls
 * again, up to twice. If money depends on the result, confirm it with `client.job(id).status()`.
 *
 * @example
 * await client.submit("a red apple", { webhook: `https://example.com/hook?secret=${secret}` });
 * // in the handler:
 * const { id, image, error } = await parseWebhook(request, { secret });
 *
 * @throws AuthenticationError if the request has no secret or the wrong one; InvalidResponseError if the body is not a
 * finished job or didn't arrive whole; ConfigurationError if you pass no secret, no `Request`, or one whose body was read
 */
export async function parseWebhook(request: Request, options: ParseWebhookOptions): Promise<WebhookEvent> {
  const { secret, fetch = globalThis.fetch } = checkOptions(webhookOptions, options);
  checkRequest(request);
  const given = new URL(request.url).searchParams.get("secret") ?? "";
  if (!(await isSame(given, secret))) {
    throw new AuthenticationError("The webhook call does not carry the right ?secret=…. Answer 401 and do nothing.");
  }
  const text = await bodyOf(request);
  const state = parseJob(readJson(text), text);
  if (!state || !isTerminal(state.status)) {
    throw new InvalidResponseError("The webhook's body is not a job that has ended. Answer 400 and do nothing.", {
      excerpt: excerpt(text),
    });
  }
  const { id } = state;
  try {
    const error = jobError(state);
    if (error) throw error;
    return { id, state, image: await decodeImage(state, {}, (url) => download(url, id, fetch)) };
  } catch (error) {
    if (!isLayerDiffuseError(error)) throw error;
    return { id, state, error };
  }
}

/** Any library's `Request` will do, but not the `req` of Express or `node:http`. */
function checkRequest(request: unknown): void {
  const { url, text } = isObject(request) ? request : {};
  if (typeof text === "function" && typeof url === "string" && URL.canParse(url)) return;
  throw new ConfigurationError(
    "parseWebhook needs a Request with a whole address and a body to read, as fetch has it. For Express or node:http, make one: new Request(address, { method, body }).",
  );
}

async function bodyOf(request: Request): Promise<string> {
  const isUsed = request.bodyUsed || request.body?.locked === true;
  if (isUsed) {
    throw new ConfigurationError(
      "The webhook's body was already read. Call parseWebhook first, or read from request.clone().",
    );
  }
  try {
    return await request.text();
  } catch (cause) {
    throw new InvalidResponseError("The webhook's body did not arrive whole. Answer 400; the service calls again.", {
      cause,
    });
  }
}

/** How often to try again. Few, because the service waits for the answer. */
const downloadRetries = 2;

function download(url: string, jobId: string, fetch: typeof globalThis.fetch): Promise<Uint8Array<ArrayBuffer>> {
  const { clock } = realInternals;
  const read = () => downloadFile(url, { fetch, clock, jobId });
  return withRetries(read, { ...realInternals, kind: "read", retries: downloadRetries });
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Compares in a time that doesn't reveal where two texts differ. */
async function isSame(a: string, b: string): Promise<boolean> {
  const digest = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const [left, right] = await Promise.all([digest(a), digest(b)]);
  return left.reduce((difference, byte, index) => difference | (byte ^ (right[index] ?? 0)), 0) === 0;
}

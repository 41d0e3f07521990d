import {
  AuthenticationError,
  ConfigurationError,
  InvalidResponseError,
  type LayerDiffuseError,
} from "../errors/index.ts";
import { decodeImage, type GeneratedImage } from "../image/generated-image.ts";
import { type JobState, parseJob } from "../protocol/answers.ts";
import { isTerminal } from "../protocol/job.ts";
import { jobError } from "../protocol/job-error.ts";
import { excerpt } from "../runpod/status-error.ts";

export interface ParseWebhookOptions {
  /** What the webhook's address carries as `?secret=…`. The service signs nothing, so this is what tells its call from others. */
  secret: string;
}

/** A job's end, as the service reported it. The same end may arrive more than once: go by `id`. */
export type WebhookEvent = { id: string; state: JobState } & (
  | { image: GeneratedImage; error?: undefined }
  | { error: LayerDiffuseError; image?: undefined }
);

/**
 * Reads the call the service makes to a job's `webhook` when the job ends. Answer 200, or it comes again
 * (twice). For what money hangs on, confirm with `client.job(id).status()`.
 *
 * @example
 * await client.submit("a red apple", { webhook: `https://example.com/hook?secret=${secret}` });
 * // in the handler:
 * const { id, image, error } = await parseWebhook(request, { secret });
 *
 * @throws AuthenticationError when the secret is missing or wrong; InvalidResponseError when the body is no job;
 * ConfigurationError when no secret is given
 */
export async function parseWebhook(request: Request, options: ParseWebhookOptions): Promise<WebhookEvent> {
  if (!options?.secret) {
    throw new ConfigurationError("parseWebhook needs the secret that the webhook's address carries as ?secret=….");
  }
  const given = new URL(request.url).searchParams.get("secret") ?? "";
  if (!(await isSame(given, options.secret))) {
    throw new AuthenticationError("The webhook call does not carry the right ?secret=…. Answer 401 and do nothing.");
  }
  const text = await request.text();
  const state = parseJob(readJson(text), text);
  if (!state || !isTerminal(state.status)) {
    throw new InvalidResponseError("The webhook's body is not a job that has ended. Answer 400 and do nothing.", {
      excerpt: excerpt(text),
    });
  }
  const { id } = state;
  const error = jobError(state);
  if (error) return { id, state, error };
  try {
    return { id, state, image: decodeImage(state, {}) };
  } catch (decodeError) {
    return { id, state, error: decodeError as LayerDiffuseError };
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Compares in a time that tells nothing of where two texts differ. */
async function isSame(a: string, b: string): Promise<boolean> {
  const digest = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const [left, right] = await Promise.all([digest(a), digest(b)]);
  return left.reduce((difference, byte, index) => difference | (byte ^ (right[index] ?? 0)), 0) === 0;
}

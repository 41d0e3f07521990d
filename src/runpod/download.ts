import { ConnectionError, InvalidImageError, LayerDiffuseError } from "../errors/index.ts";
import type { Clock } from "../runtime/clock.ts";
import { isBrowser } from "../runtime/environment.ts";
import { withTimeLimit } from "../runtime/time-limit.ts";
import { api, freshly, longestAnswer, readBody } from "./http.ts";
import { connectionError, statusError } from "./http-errors.ts";

/** Of an image behind a link: far more than a worker of ours makes. */
const mostBytes = 64 * 1024 * 1024;
/** Milliseconds without a sign of the file. */
const quietTime = 60_000;
const mostRedirects = 5;

export interface DownloadOptions {
  fetch: typeof fetch;
  clock: Clock;
  /** The job whose output holds the link. */
  jobId: string;
  signal?: AbortSignal | undefined;
}

/**
 * Fetches the file behind an https link, once: without key and headers, over https to its end, at most 64 MB. The link
 * may be signed, so no error repeats it.
 *
 * @throws InvalidImageError when there is no such file, or it is too large; ConnectionError, ServerError, RateLimitError
 */
export async function downloadFile(
  url: string,
  { fetch, clock, jobId, signal }: DownloadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const what = `The link to the image of job ${jobId}`;
  const links = [url];
  const redact = (text: string) => links.reduce((rest, link) => rest.replaceAll(link, "[link]"), text);
  const read = async (stop: AbortSignal, restart: (milliseconds: number) => void) => {
    try {
      const response = await followed(links, fetch, stop, jobId);
      return await readFile(what, response, jobId, () => restart(quietTime));
    } catch (error) {
      throw error instanceof LayerDiffuseError ? error : connectionError(what, { jobId }, error, redact);
    }
  };
  const onLate = () => {
    throw new ConnectionError(`${what} did not give its file in time. Try again.`, { arrived: "unknown", jobId });
  };
  return await withTimeLimit(read, { clock, milliseconds: quietTime, longest: longestAnswer, signal, onLate });
}

const isHttps = (url: string) => /^https:\/\//i.test(url);

/** The answer at the end of the redirects, each of which leads to https again and is added to `links`. */
async function followed(
  links: string[],
  fetch: DownloadOptions["fetch"],
  signal: AbortSignal,
  jobId: string,
): Promise<Response> {
  while (links.length <= mostRedirects + 1) {
    const next = links.at(-1) ?? "";
    if (!isHttps(next)) break;
    // A browser hides where a redirect leads: there the end is all that can be checked.
    const redirect = isBrowser() ? "follow" : "manual";
    const response = await api(next, {
      signal,
      redirect,
      fetch: (request) => fetch((request as Request).url, { signal, redirect, ...freshly() }),
    });
    if (response.redirected && !isHttps(response.url)) {
      await response.body?.cancel();
      break;
    }
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel();
    links.push(new URL(location, next).href);
  }
  throw new InvalidImageError(`The link to the image of job ${jobId} redirects too often, or away from https.`, {
    jobId,
  });
}

async function readFile(
  what: string,
  response: Response,
  jobId: string,
  onData: () => void,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    checkFile(what, response, jobId);
  } catch (error) {
    await response.body?.cancel();
    throw error;
  }
  return await readBody(response, (size) => {
    onData();
    if (size > mostBytes) throw tooLarge(what, jobId);
  });
}

function checkFile(what: string, response: Response, jobId: string): void {
  const { status, ok, headers } = response;
  if (!ok) {
    const error = statusError(what, { jobId }, response, "");
    if (error.retryable) throw error;
    throw new InvalidImageError(`${what} answered ${status}: it may have expired. Ask the worker for base64.`, {
      jobId,
      status,
    });
  }
  if (Number(headers.get("content-length")) > mostBytes) throw tooLarge(what, jobId);
}

const tooLarge = (what: string, jobId: string) =>
  new InvalidImageError(`${what} leads to a file larger than ${mostBytes} bytes.`, { jobId });

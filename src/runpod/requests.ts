import { InvalidResponseError, ServerError } from "../errors/index.ts";
import { bareError } from "../protocol/answers.ts";
import { isBrowser } from "../runtime/environment.ts";
import { VERSION } from "../runtime/version.ts";
import type { Connection, Internals } from "./connection.ts";
import { type HttpAnswer, HttpClient, type HttpRequest } from "./http.ts";
import { Limiter } from "./limiter.ts";
import { type RetryOptions, withRetries } from "./retry.ts";
import { errorText, excerpt } from "./status-error.ts";

/** Limits on the tries of one request. */
export type RequestLimits = Partial<Pick<RetryOptions, "kind" | "retries" | "deadline" | "onFailure">> & {
  signal?: AbortSignal | undefined;
};

/** Sends an endpoint's requests: so many at once, repeated where that is safe, each answer read. */
export class Requests {
  /** Shared by all requests, so that long polls leave room for the others. */
  readonly limiter: Limiter;
  readonly #http: HttpClient;
  readonly #connection: Connection;
  readonly #internals: Internals;

  constructor(connection: Connection, internals: Internals) {
    this.#connection = connection;
    this.#internals = internals;
    this.limiter = new Limiter(connection.concurrency);
    this.#http = new HttpClient({
      ...connection,
      clock: internals.clock,
      userAgent: isBrowser() ? undefined : `layerdiffuse/${VERSION}`,
    });
  }

  /**
   * One request, repeated where that is safe. `options.signal` also cuts the request itself short;
   * `waitSignal` alone only ends the waiting for a slot or for the next try.
   */
  async send<Answer>(
    request: Omit<HttpRequest, "signal">,
    read: (answer: HttpAnswer) => Answer | undefined,
    { kind = "read", retries, deadline, onFailure, signal }: RequestLimits,
    waitSignal = signal,
  ): Promise<Answer> {
    const send = async () => {
      const answer = await this.limiter.run(() => this.#http.send({ ...request, signal }), waitSignal);
      return read(answer) ?? wrongAnswer(request, answer);
    };
    const { clock, random } = this.#internals;
    return await withRetries(send, {
      kind,
      retries: retries ?? this.#connection.retries,
      clock,
      random,
      deadline,
      onFailure,
      signal: waitSignal,
    });
  }
}

function wrongAnswer({ method, path, jobId }: HttpRequest, { status, body, text, redact }: HttpAnswer): never {
  const what = `${method} /${path} answered ${status}`;
  if (bareError(body) !== undefined) {
    throw new ServerError(`${what} with an error: ${errorText(redact(text))}.`, { status, jobId, retryable: true });
  }
  throw new InvalidResponseError(`${what} with something else than the service's contract says. Check baseUrl.`, {
    status,
    jobId,
    excerpt: excerpt(redact(text)),
  });
}

import { InvalidResponseError, ServerError } from "../errors/index.ts";
import { bareError } from "../protocol/answers.ts";
import type { Internals } from "../runtime/clock.ts";
import { isBrowser, VERSION } from "../runtime/environment.ts";
import { type HttpAnswer, HttpClient, type HttpRequest } from "./http.ts";
import { errorText, excerpt } from "./http-errors.ts";
import type { Limiter } from "./limiter.ts";
import type { Connection } from "./option-defaults.ts";
import { type RetryOptions, withRetries } from "./retry.ts";

/** Limits on the tries of one request. */
export type RequestLimits = Partial<Omit<RetryOptions, "clock" | "random">> & Pick<HttpRequest, "headers" | "onData">;

/** Sends an endpoint's requests: so many at once, repeated where that is safe, each answer read. */
export class Requests {
  readonly #limiter: Limiter;
  readonly #http: HttpClient;
  readonly #connection: Connection;
  readonly #internals: Internals;

  /** @param limiter shared by all requests, so that long polls leave room for the others */
  constructor(connection: Connection, limiter: Limiter, internals: Internals) {
    this.#connection = connection;
    this.#internals = internals;
    this.#limiter = limiter;
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
    request: Omit<HttpRequest, "signal" | "headers" | "onData">,
    read: (answer: HttpAnswer) => Answer | undefined,
    { headers, onData, signal, ...limits }: RequestLimits,
    waitSignal = signal,
  ): Promise<Answer> {
    const send = async () => {
      const answer = await this.#limiter.run(
        () => this.#http.send({ ...request, headers, onData, signal }),
        waitSignal,
      );
      return read(answer) ?? wrongAnswer(request, answer);
    };
    const { clock, random } = this.#internals;
    return await withRetries(send, {
      kind: "read",
      ...limits,
      retries: limits.retries ?? this.#connection.retries,
      clock,
      random,
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

import { randomBytes } from "node:crypto";
import { service } from "../../protocol/service-rules.ts";
import type { Clock } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import type { Timers } from "../collections/timers.ts";

/** The pauses before the second and the third try, as seen live. The documentation says 10 s each. */
const pauses: readonly number[] = [5_000, 15_000];

/** How long a receiver may take to answer. The service's own limit is unknown. */
const answerTimeout = 30_000;

export interface WebhookCall {
  readonly jobId: string;
  readonly url: string;
  readonly body: string;
}

/** Tells webhooks that jobs have ended. Their answers change no job. */
export class Webhooks {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #fetch: typeof fetch;
  readonly #onLog: (line: string) => void;
  readonly #closing = new AbortController();

  constructor(clock: Clock, timers: Timers, send: typeof fetch, onLog: (line: string) => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#fetch = send;
    this.#onLog = onLog;
  }

  /** Sends in the background, up to three times, until the receiver answers with 2xx. */
  send(call: WebhookCall): void {
    void this.#attempt(call, 0);
  }

  close(): void {
    this.#closing.abort(new Error("the endpoint was closed"));
  }

  /** The tries imitate the service's own, so p-retry, which the client uses, has no part in them. */
  async #attempt(call: WebhookCall, retries: number): Promise<void> {
    const { signal } = this.#closing;
    if (signal.aborted) return;
    const problem = await this.#post(call);
    if (problem === undefined || signal.aborted) return;
    this.#onLog(`job ${call.jobId}: webhook try ${retries + 1} of ${service.webhookRetries + 1} failed: ${problem}`);
    const pause = retries < service.webhookRetries ? pauses[retries] : undefined;
    if (pause !== undefined) this.#timers.add(pause, () => void this.#attempt(call, retries + 1));
  }

  /** Returns what went wrong, or undefined. */
  async #post({ url, body }: WebhookCall): Promise<string | undefined> {
    const post = async (signal: AbortSignal) => {
      const response = await this.#fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "user-agent": "Go-http-client/2.0",
          traceparent: `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`,
        },
        body,
        signal,
      });
      // Its connection would stay open otherwise.
      await response.body?.cancel();
      return response.ok ? undefined : `HTTP ${response.status}`;
    };
    const onLate = () => `no answer within ${answerTimeout / 1_000} s`;
    const limit = { clock: this.#clock, milliseconds: answerTimeout, signal: this.#closing.signal, onLate };
    try {
      return await withTimeLimit(post, limit);
    } catch (error) {
      return reasonOf(error);
    }
  }
}

/** `fetch` says no more than "fetch failed": why is in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  const said = error.message || String(code ?? error.name);
  return error.cause === undefined ? said : `${said}: ${reasonOf(error.cause)}`;
}

/** A request, without a socket and without `Request`. `fetch` and `listen` both pass it to the endpoint. */
export interface Call {
  readonly method: string;
  readonly pathname: string;
  readonly query: URLSearchParams;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The size of the body as it was sent. `body` has only the beginning of one that is too large for any operation. */
  readonly bodyBytes: number;
  /** Whether the caller is on this computer. */
  readonly isLocal: boolean;
  /** Aborts when the caller has left. */
  readonly signal: AbortSignal;
}

/** The answer to a {@link Call}. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  /** How the connection breaks: before anything was sent, or in the middle of the body. */
  readonly broken?: "reset" | "cut";
  /** Called when the caller had left before the answer was written. */
  readonly undelivered?: () => void;
}

export const resetAnswer: Answer = { status: 500, headers: {}, body: "", broken: "reset" };

export function jsonAnswer(status: number, text: string): Answer {
  return { status, headers: { "content-type": "application/json" }, body: text };
}

export function errorAnswer(status: number, error: string): Answer {
  return jsonAnswer(status, JSON.stringify({ error }));
}

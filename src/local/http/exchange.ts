/**
 * One request and its answer, free of sockets and of `Request`: what both ways in, `fetch` and
 * `listen`, hand to the endpoint and get from it.
 */
export interface Call {
  readonly method: string;
  readonly pathname: string;
  readonly query: URLSearchParams;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Size of the body as sent; of one over the limit of any operation `body` is only the beginning. */
  readonly bodyBytes: number;
  /** Whether the caller is on this computer. */
  readonly isLocal: boolean;
  /** Aborts when the caller has gone. */
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  /** How the connection breaks: before anything is sent, or half way through the body. */
  readonly broken?: "reset" | "cut";
  /** Called where the caller had gone before the answer was written. */
  readonly undelivered?: () => void;
}

export const resetAnswer: Answer = { status: 500, headers: {}, body: "", broken: "reset" };

export function jsonAnswer(status: number, text: string): Answer {
  return { status, headers: { "content-type": "application/json" }, body: text };
}

export function errorAnswer(status: number, error: string): Answer {
  return jsonAnswer(status, JSON.stringify({ error }));
}

import type { Operation } from "../../protocol/operations.ts";
import { LinkedList } from "../collections/linked-list.ts";

/** A request as it arrived at the endpoint. */
export interface RecordedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  /** Absent where the path names no operation. */
  readonly operation?: Operation;
  readonly jobId?: string;
  /** When it arrived, by the endpoint's clock. */
  readonly at: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The text of the body. Absent where there is none, and where it is too large for any operation. */
  readonly body?: string;
}

/** How many requests are kept, and how many characters of their bodies. */
const longest = 10_000;
const mostText = 64 * 1024 * 1024;

/** Keeps the latest requests, so that tests can check what arrived. */
export class Recorder {
  readonly #kept = new LinkedList<RecordedRequest>();
  #text = 0;

  get requests(): readonly RecordedRequest[] {
    return [...this.#kept];
  }

  add(request: RecordedRequest): void {
    this.#kept.push(request);
    this.#text += request.body?.length ?? 0;
    for (let { first } = this.#kept; first !== undefined; { first } = this.#kept) {
      if (this.#kept.size <= longest && this.#text <= mostText) break;
      this.#kept.remove(first);
      this.#text -= first.value.body?.length ?? 0;
    }
  }
}

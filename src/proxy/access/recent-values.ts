/** Remembers the last values, so that what costs a signature is not worked out again for each request of a caller. */
export class RecentValues<Value> {
  readonly #most: number;
  /** Oldest first. */
  readonly #values = new Map<string, Value>();

  constructor(most: number) {
    this.#most = most;
  }

  get(key: string): Value | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: Value): void {
    this.#values.set(key, value);
    const [oldest = key] = this.#values.keys();
    if (this.#values.size > this.#most) this.#values.delete(oldest);
  }
}

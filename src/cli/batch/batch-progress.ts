import { bar, duration } from "../terminal/format.ts";
import { canBeLive, LiveLine } from "../terminal/live-line.ts";
import type { Session } from "../terminal/session.ts";

/** How far a batch has come. */
export class Tally {
  readonly total: number;
  made = 0;
  failed = 0;
  /** Of the failed: how many have a job that may still run or hold its image. */
  open = 0;
  /** Of the failed: how many inputs the worker refused. */
  refused = 0;
  /** Of the failed: how many submissions got no clear answer. */
  doubtful = 0;
  /** Already in the folder. */
  skipped = 0;
  running = 0;
  /** USD, of all jobs whose cost is known; absent when there is none. */
  cost: number | undefined;

  constructor(total: number) {
    this.total = total;
  }

  spend(cost: number | undefined): void {
    if (cost !== undefined) this.cost = (this.cost ?? 0) + cost;
  }

  /** How many are settled. */
  get over(): number {
    return this.made + this.failed + this.skipped;
  }

  /** In words: `12 of 40 · 3 there already · 1 failed`. */
  words(): string {
    const parts = [`${this.over} of ${this.total}`];
    if (this.skipped > 0) parts.push(`${this.skipped} there already`);
    if (this.failed > 0) parts.push(`${this.failed} failed`);
    return parts.join(" · ");
  }

  /** Milliseconds that the rest will take at the pace so far; unknown before two are made. */
  left(elapsed: number): number | undefined {
    const worked = this.made + this.failed;
    return worked < 2 ? undefined : ((this.total - this.over) * elapsed) / worked;
  }
}

/** Shows how a batch goes: a live line with a bar on a terminal, one line per prompt elsewhere. */
export class BatchProgress {
  readonly #session: Session;
  readonly #tally: Tally;
  readonly #startedAt = performance.now();
  #live: LiveLine | undefined;

  constructor(session: Session, tally: Tally) {
    this.#session = session;
    this.#tally = tally;
    if (canBeLive(session)) this.#live = new LiveLine(session.io, () => this.#words());
  }

  get elapsed(): number {
    return performance.now() - this.#startedAt;
  }

  async made(file: string): Promise<void> {
    // On a terminal the path appears above the live line anyway.
    if (!this.#live) await this.#session.note(`${this.#tally.words()} · made ${file}`);
  }

  /** @param name which prompt */
  async failed(name: string, message: string): Promise<void> {
    const standing = this.#live ? "" : `${this.#tally.words()} · `;
    await this.#session.warn(`${standing}failed: ${name}: ${message}`);
  }

  /** Takes the live line away. */
  stop(): void {
    this.#live?.stop();
    this.#live = undefined;
  }

  #words(): string {
    const { total, over, running } = this.#tally;
    const left = this.#tally.left(this.elapsed);
    const parts = [this.#tally.words(), `${running} at work`, duration(this.elapsed)];
    if (total > 0) parts.unshift(bar(over / total));
    if (left !== undefined && left > 0) parts.push(`about ${duration(left)} left`);
    return parts.join(" · ");
  }
}

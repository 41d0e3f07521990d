import type { Clock } from "../../runtime/clock.ts";

/**
 * Keeps who has which of the callers' places. Each caller has a list of entries: jobs, and submissions that are on
 * their way. An entry leaves the list when it is removed or its time is over, so that no instance that dies takes a
 * place with it. All methods are safe to repeat.
 */
export interface JobStore {
  /** Puts an entry on the caller's list if fewer than `most` are on it. `lifetime` is in milliseconds. */
  add(caller: string, entry: string, most: number, lifetime: number): Promise<JobList>;
  /**
   * Puts an entry on the list in the place of another, whether or not that is still there. If the entry was removed in
   * the last two minutes, only the other one leaves: a job may end before the answer to its submission arrives.
   */
  replace(caller: string, old: string, entry: string, lifetime: number): Promise<void>;
  remove(caller: string, entry: string): Promise<void>;
}

/** What came of an entry that was to be added. */
export interface JobList {
  isAdded: boolean;
  /** If it was not: everything that is on the list, in any order. */
  entries: readonly string[];
}

/** How long a removal is remembered, in milliseconds. Longer than a submission takes. */
export const removalMemory = 120_000;

/** With more callers than this, the lists of all are looked through for what is over. */
const mostCallers = 10_000;
/** How many removals of one caller are remembered. */
const mostRemovals = 1_000;

/** One caller's entries. */
class Entries {
  /** By entry: the moment of the clock at which it is over. */
  readonly #ends = new Map<string, number>();
  #firstEnd = Number.POSITIVE_INFINITY;

  /** Forgets what is over. */
  at(now: number): Map<string, number> {
    if (this.#firstEnd > now) return this.#ends;
    this.#firstEnd = Number.POSITIVE_INFINITY;
    for (const [entry, end] of this.#ends) {
      if (end <= now) this.#ends.delete(entry);
      else this.#firstEnd = Math.min(this.#firstEnd, end);
    }
    return this.#ends;
  }

  put(entry: string, end: number): void {
    this.#ends.set(entry, end);
    this.#firstEnd = Math.min(this.#firstEnd, end);
  }
}

/** Keeps the lists in this process. */
export class MemoryJobStore implements JobStore {
  readonly #clock: Clock;
  readonly #lists = new Map<string, Entries>();
  readonly #removals = new Map<string, Entries>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async add(caller: string, entry: string, most: number, lifetime: number): Promise<JobList> {
    const list = this.#of(this.#lists, caller);
    if (list && !list.has(entry) && list.size >= most) return { isAdded: false, entries: [...list.keys()] };
    if (most < 1) return { isAdded: false, entries: [] };
    this.#put(this.#lists, caller, entry, lifetime);
    return { isAdded: true, entries: [] };
  }

  async replace(caller: string, old: string, entry: string, lifetime: number): Promise<void> {
    this.#of(this.#lists, caller)?.delete(old);
    if (this.#of(this.#removals, caller)?.has(entry)) this.#of(this.#lists, caller);
    else this.#put(this.#lists, caller, entry, lifetime);
  }

  async remove(caller: string, entry: string): Promise<void> {
    const list = this.#of(this.#lists, caller);
    // Only while a submission is on its way can an entry be removed that is yet to come.
    if (!list?.delete(entry) && list) {
      const removals = this.#put(this.#removals, caller, entry, removalMemory);
      const [oldest = entry] = removals.keys();
      if (removals.size > mostRemovals) removals.delete(oldest);
    }
    this.#of(this.#lists, caller);
  }

  #put(lists: Map<string, Entries>, caller: string, entry: string, lifetime: number): Map<string, number> {
    const now = this.#clock.now();
    const list = lists.get(caller) ?? new Entries();
    list.put(entry, now + lifetime);
    lists.set(caller, list);
    if (lists.size > mostCallers) for (const name of lists.keys()) this.#of(lists, name);
    return list.at(now);
  }

  /** The caller's entries. Forgets what is over, and lists on which nothing is left. */
  #of(lists: Map<string, Entries>, caller: string): Map<string, number> | undefined {
    const list = lists.get(caller)?.at(this.#clock.now());
    if (list?.size === 0) lists.delete(caller);
    return list?.size ? list : undefined;
  }
}

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

/** A caller's list after an entry was to be added. */
export interface JobList {
  isAdded: boolean;
  /** Everything that is on the list, in any order. */
  entries: readonly string[];
}

/** How long a removal is remembered, in milliseconds. Longer than a submission takes. */
export const removalMemory = 120_000;

/** With more callers than this, the lists of all are looked through for what is over. */
const mostCallers = 10_000;
/** How many removals of one caller are remembered. */
const mostRemovals = 1_000;

/** By entry: the moment of the clock at which it is over. */
type Expiries = Map<string, number>;

/** Keeps the lists in this process. */
export class MemoryJobStore implements JobStore {
  readonly #clock: Clock;
  readonly #lists = new Map<string, Expiries>();
  readonly #removals = new Map<string, Expiries>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async add(caller: string, entry: string, most: number, lifetime: number): Promise<JobList> {
    const list = this.#of(this.#lists, caller);
    const isAdded = list.has(entry) || list.size < most;
    if (isAdded) this.#put(this.#lists, caller, entry, lifetime);
    return { isAdded, entries: [...this.#of(this.#lists, caller).keys()] };
  }

  async replace(caller: string, old: string, entry: string, lifetime: number): Promise<void> {
    this.#drop(this.#lists, caller, old);
    if (!this.#of(this.#removals, caller).has(entry)) this.#put(this.#lists, caller, entry, lifetime);
  }

  async remove(caller: string, entry: string): Promise<void> {
    // Only while a submission is on its way can an entry be removed that is yet to come.
    const isEarly = !this.#drop(this.#lists, caller, entry) && this.#lists.has(caller);
    if (!isEarly) return;
    this.#put(this.#removals, caller, entry, removalMemory);
    const removals = this.#of(this.#removals, caller);
    const [oldest = entry] = removals.keys();
    if (removals.size > mostRemovals) removals.delete(oldest);
  }

  #put(lists: Map<string, Expiries>, caller: string, entry: string, lifetime: number): void {
    const list = lists.get(caller) ?? new Map<string, number>();
    lists.set(caller, list.set(entry, this.#clock.now() + lifetime));
    if (lists.size > mostCallers) for (const name of lists.keys()) this.#of(lists, name);
  }

  /** Returns whether the entry was there. */
  #drop(lists: Map<string, Expiries>, caller: string, entry: string): boolean {
    const list = this.#of(lists, caller);
    const wasThere = list.delete(entry);
    if (list.size === 0) lists.delete(caller);
    return wasThere;
  }

  /** Forgets what is over. */
  #of(lists: Map<string, Expiries>, caller: string): Expiries {
    const list = lists.get(caller) ?? new Map<string, number>();
    for (const [entry, end] of list) if (end <= this.#clock.now()) list.delete(entry);
    if (list.size === 0) lists.delete(caller);
    return list;
  }
}

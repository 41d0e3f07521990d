import type { Operation } from "../../protocol/operations.ts";
import { service } from "../../protocol/service-rules.ts";
import type { Clock } from "../../runtime/clock.ts";
import { LinkedList } from "../collections/linked-list.ts";

/** A group of operations that share a limit. `status` is `/status` and `/status-sync` together. */
export type RateBucket = keyof typeof service.rates;

/** The limit of one group. */
export interface Rate {
  /** How many requests may start within any 10 s. */
  perWindow?: number;
  /** How many requests may be in progress at once. A long poll counts for as long as it is held. */
  concurrent?: number;
}

/**
 * The operations of each group, and how many requests each running worker allows, where that is more than the base. The
 * rule is documented ("Send API requests", rate limits). The numbers stood only in an earlier version of that page, and
 * those of `/stream` are an analogy.
 */
const buckets: readonly { name: RateBucket; operations: readonly Operation[]; perWorker: number }[] = [
  { name: "run", operations: ["run"], perWorker: 200 },
  { name: "runsync", operations: ["runsync"], perWorker: 400 },
  { name: "status", operations: ["status", "status-sync"], perWorker: 400 },
  { name: "stream", operations: ["stream"], perWorker: 400 },
  { name: "cancel", operations: ["cancel"], perWorker: 20 },
  { name: "purge-queue", operations: ["purge-queue"], perWorker: 0 },
  { name: "requests", operations: ["requests"], perWorker: 0 },
];

interface Budget {
  readonly base: Required<Rate>;
  readonly perWorker: number;
  /** When the requests of the current window came. */
  readonly times: LinkedList<number>;
  inProgress: number;
}

/** Counts requests and refuses those over the limit. */
export class RateLimits {
  readonly #clock: Clock;
  readonly #runningWorkers: () => number;
  readonly #budgets = new Map<Operation, Budget>();

  constructor(clock: Clock, overrides: { readonly [Name in RateBucket]?: Rate } | false, runningWorkers: () => number) {
    this.#clock = clock;
    this.#runningWorkers = runningWorkers;
    if (overrides === false) return;
    for (const { name, operations, perWorker } of buckets) {
      const budget: Budget = {
        base: {
          perWindow: overrides[name]?.perWindow ?? service.rates[name].perWindow,
          concurrent: overrides[name]?.concurrent ?? service.rates[name].concurrent,
        },
        perWorker,
        times: new LinkedList<number>(),
        inProgress: 0,
      };
      for (const operation of operations) this.#budgets.set(operation, budget);
    }
  }

  /**
   * Returns 0 when the request may start; call {@link leave} at its end. Otherwise returns after how many milliseconds it
   * is worth another try.
   */
  enter(operation: Operation): number {
    const budget = this.#budgets.get(operation);
    if (budget === undefined) return 0;
    const now = this.#clock.now();
    const allowance = budget.perWorker * this.#runningWorkers();
    while (budget.times.first !== undefined && budget.times.first.value <= now - service.rateWindow) {
      budget.times.remove(budget.times.first);
    }
    const { first } = budget.times;
    if (budget.times.size >= Math.max(budget.base.perWindow, allowance)) {
      return first === undefined ? service.rateWindow : first.value + service.rateWindow - now;
    }
    // It is unknown when a request in progress will end. A client would wait about a second anyway.
    if (budget.inProgress >= Math.max(budget.base.concurrent, allowance)) return 1_000;
    budget.times.push(now);
    budget.inProgress++;
    return 0;
  }

  leave(operation: Operation): void {
    const budget = this.#budgets.get(operation);
    if (budget !== undefined) budget.inProgress--;
  }
}

import type { Operation } from "../../protocol/operations.ts";
import { service } from "../../protocol/service-rules.ts";
import type { Clock } from "../../runtime/clock.ts";
import { LinkedList } from "../collections/linked-list.ts";

/** What shares a budget: `status` is `/status` and `/status-sync` together. */
export type RateBucket = keyof typeof service.rates;

/** A limit for one bucket. */
export interface Rate {
  /** Requests let through in any 10 s. */
  perWindow?: number;
  /** Requests in progress at once; a held poll counts as long as it is held. */
  concurrent?: number;
}

/**
 * Which operations share a budget, and what each running worker allows where that is more than the base.
 * The rule is documented ("Send API requests", rate limits), the numbers only in a former version of that
 * page; `/stream` goes by analogy.
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

/** Counts requests by operation, and says which are too many. */
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
   * Lets a request in, which must {@link leave} again, and answers 0; or refuses it and answers the
   * milliseconds after which another try is worth it.
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
    // When a request in progress will end is not known; a second is what a client would wait anyway.
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

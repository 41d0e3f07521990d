import type { Attempt } from "../jobs/local-job.ts";
import type { PoolWorker } from "./local-worker.ts";

/** A worker that waits for jobs. */
export interface JobOffer {
  readonly worker: PoolWorker;
  /** How many jobs it takes at most. */
  readonly most: number;
  /** Called with the jobs; with none when the offer is withdrawn. */
  readonly accept: (attempts: Attempt[]) => void;
}

/** The workers that wait for jobs. The next job goes to the one that worked last: it is warm, and lets the others idle. */
export class JobOffers {
  /** By the time the worker last worked, the latest at the end. */
  readonly #offers: JobOffer[] = [];
  readonly #byWorker = new Map<PoolWorker, JobOffer>();

  get next(): JobOffer | undefined {
    return this.#offers.at(-1);
  }

  has(worker: PoolWorker): boolean {
    return this.#byWorker.has(worker);
  }

  /**
   * Adds an offer. It replaces the worker's earlier one, which is withdrawn.
   *
   * @returns a function that takes the offer back, without a call of `accept`
   */
  add(offer: JobOffer): () => void {
    const { worker } = offer;
    this.withdraw(worker);
    let place = this.#offers.length;
    while (place > 0 && (this.#offers[place - 1]?.worker.workedAt ?? 0) > worker.workedAt) place--;
    this.#offers.splice(place, 0, offer);
    this.#byWorker.set(worker, offer);
    return () => this.remove(offer);
  }

  /** Removes an offer without a word to its worker. */
  remove(offer: JobOffer): void {
    if (this.#byWorker.get(offer.worker) !== offer) return;
    this.#byWorker.delete(offer.worker);
    this.#offers.splice(this.#offers.indexOf(offer), 1);
  }

  /** Removes a worker's offer, if it has one, and tells the worker that no job comes. */
  withdraw(worker: PoolWorker): void {
    const offer = this.#byWorker.get(worker);
    if (offer === undefined) return;
    this.remove(offer);
    offer.accept([]);
  }
}

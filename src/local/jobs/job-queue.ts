import { LinkedList } from "../collections/linked-list.ts";
import type { Job } from "./local-job.ts";

/** The jobs that wait for a worker. */
export class JobQueue {
  readonly #normal = new LinkedList<Job>();
  readonly #lowPriority = new LinkedList<Job>();

  /** The jobs for which workers may be started, the oldest first. A job of low priority starts none. */
  get scalable(): LinkedList<Job> {
    return this.#normal;
  }

  /** The job that goes out next: the oldest, whatever its priority. */
  get first(): Job | undefined {
    const normal = this.#normal.first?.value;
    const low = this.#lowPriority.first?.value;
    if (normal === undefined || low === undefined) return normal ?? low;
    return compareArrival(low, normal) < 0 ? low : normal;
  }

  push(job: Job): void {
    const list = this.#listOf(job);
    job.place = { list, link: list.push(job) };
  }

  /** Puts a job in front of all others, as one that was handed out already. */
  unshift(job: Job): void {
    const list = this.#listOf(job);
    job.place = { list, link: list.unshift(job) };
  }

  /** Removes a job, if it is here. */
  remove(job: Job): void {
    job.place?.list.remove(job.place.link);
    job.place = undefined;
  }

  *[Symbol.iterator](): Generator<Job> {
    yield* this.#normal;
    yield* this.#lowPriority;
  }

  #listOf({ lowPriority }: Job): LinkedList<Job> {
    return lowPriority ? this.#lowPriority : this.#normal;
  }
}

/** Negative when `one` entered the queue before `other`. */
export function compareArrival(one: Job, other: Job): number {
  return one.queuedAt - other.queuedAt || one.order - other.order;
}

import { type Clock, sleep } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import type { ImageStorage } from "../images/memory-storage.ts";
import { decodeBase64Url, encodeBase64Url } from "./signer.ts";

/** A job that takes one of its caller's places. */
export interface CountedJob {
  /** The endpoint's own id of the job. */
  id: string;
  /** Seconds since 1970. */
  issued: number;
}

/** With more subjects than this, the jobs of all are looked through for what is forgotten. */
const mostSubjects = 10_000;

/** Which jobs of each subject count, in this process. */
export class MemoryJobList {
  readonly #lifetime: number;
  readonly #clock: Clock;
  /** For each subject, its jobs by id, oldest first, and when each is forgotten. */
  readonly #jobs = new Map<string, Map<string, { job: CountedJob; expires: number }>>();

  /** @param lifetime how long a job counts if nobody sees it end, in milliseconds */
  constructor(lifetime: number, clock: Clock) {
    this.#lifetime = lifetime;
    this.#clock = clock;
  }

  add(subject: string, job: CountedJob): void {
    const jobs = this.#jobs.get(subject) ?? new Map<string, { job: CountedJob; expires: number }>();
    this.#jobs.set(subject, jobs.set(job.id, { job, expires: this.#clock.now() + this.#lifetime }));
    if (this.#jobs.size > mostSubjects) for (const name of this.#jobs.keys()) this.of(name);
  }

  /** Returns whether the job was on the list. */
  remove(subject: string, id: string): boolean {
    const jobs = this.#jobs.get(subject);
    const isListed = jobs?.delete(id) ?? false;
    if (jobs?.size === 0) this.#jobs.delete(subject);
    return isListed;
  }

  /** The subject's jobs, oldest first. Forgets those whose time is over. */
  of(subject: string): CountedJob[] {
    const now = this.#clock.now();
    const all = [...(this.#jobs.get(subject)?.values() ?? [])];
    for (const { job, expires } of all) if (expires <= now) this.remove(subject, job.id);
    return all.flatMap(({ job, expires }) => (expires > now ? [job] : []));
  }
}

/** A storage whose keys can be listed and removed, as those of `unstorage` can. */
export type ListingStorage = ImageStorage & Required<Pick<ImageStorage, "getKeys" | "removeItem">>;

export function canList(storage: ImageStorage): storage is ListingStorage {
  return typeof storage.getKeys === "function" && typeof storage.removeItem === "function";
}

/** A list is a help, and nobody should wait long for it. Milliseconds. */
const slowest = 2_000;
/** How long a listing is believed. Milliseconds. */
const believed = 2_000;
/** Between two looks at a listing that another request has begun. Milliseconds. */
const look = 50;

export interface StoredJobListOptions {
  storage: ListingStorage;
  /** How long a job counts if nobody sees it end, in milliseconds. */
  lifetime: number;
  clock: Clock;
  /** Milliseconds since 1970. */
  wallTime: () => number;
  onError: (error: unknown) => void;
}

/** What a storage said of a subject's jobs. */
interface Listing {
  jobs: readonly CountedJob[];
  /** By the clock: until when it is believed. */
  until: number;
  /** Whether the storage has not answered yet. */
  isOpen: boolean;
}

/**
 * Which jobs of each subject count, in the storage that instances share. Each job has a key of its own, so that instances
 * never write over each other's jobs. A storage that fails is reported and counts as empty.
 */
export class StoredJobList {
  readonly #options: StoredJobListOptions;
  /** A caller who keeps asking must not have the storage listed each time. */
  readonly #listings = new Map<string, Listing>();

  constructor(options: StoredJobListOptions) {
    this.#options = options;
  }

  async add(subject: string, job: CountedJob): Promise<void> {
    const { storage } = this.#options;
    await this.#try(() => storage.setItemRaw(keyOf(subject, job), new TextEncoder().encode(job.id)));
  }

  async remove(subject: string, job: CountedJob): Promise<void> {
    const listing = this.#listings.get(subject);
    if (listing) listing.jobs = listing.jobs.filter(({ id }) => id !== job.id);
    await this.#try(() => this.#options.storage.removeItem(keyOf(subject, job)));
  }

  /** The subject's jobs as they were at most two seconds ago. */
  async of(subject: string): Promise<readonly CountedJob[]> {
    const { clock } = this.#options;
    let known = this.#listings.get(subject);
    while (known?.isOpen && known.until > clock.now()) {
      // With timers of its own, because on Workers a request must not wait for what another request started.
      await sleep(clock, look);
      known = this.#listings.get(subject);
    }
    if (known && known.until > clock.now()) return known.jobs;
    this.#forget();
    const listing: Listing = { jobs: [], until: clock.now() + slowest, isOpen: true };
    this.#listings.set(subject, listing);
    listing.jobs = await this.#read(subject);
    Object.assign(listing, { until: clock.now() + believed, isOpen: false });
    return listing.jobs;
  }

  async #read(subject: string): Promise<readonly CountedJob[]> {
    const { storage, lifetime, wallTime } = this.#options;
    const keys = (await this.#try(() => storage.getKeys(`jobs:${subject}`))) ?? [];
    const jobs = keys.flatMap((key) => jobOf(key) ?? []);
    const isOver = ({ issued }: CountedJob) => issued * 1000 + lifetime <= wallTime();
    await Promise.all(jobs.filter(isOver).map((job) => this.remove(subject, job)));
    return jobs.filter((job) => !isOver(job));
  }

  #forget(): void {
    if (this.#listings.size < mostSubjects) return;
    for (const [subject, { until }] of this.#listings)
      if (until <= this.#options.clock.now()) this.#listings.delete(subject);
  }

  async #try<Value>(work: () => Promise<Value>): Promise<Value | undefined> {
    const { clock, onError } = this.#options;
    const onLate = () => {
      throw new Error(`The storage did not answer within ${slowest} ms.`);
    };
    try {
      return await withTimeLimit(work, { clock, milliseconds: slowest, onLate });
    } catch (error) {
      onError(error);
      return undefined;
    }
  }
}

/** An id may hold characters that no file name may. */
function keyOf(subject: string, { id, issued }: CountedJob): string {
  return `jobs:${subject}:${issued.toString(36)}.${encodeBase64Url(new TextEncoder().encode(id))}`;
}

function jobOf(key: string): CountedJob | undefined {
  const [, issued = "", name = ""] = /:([0-9a-z]{1,9})\.([\w-]+)$/.exec(key) ?? [];
  const bytes = decodeBase64Url(name);
  if (!bytes || name === "") return undefined;
  return { id: new TextDecoder().decode(bytes), issued: Number.parseInt(issued, 36) };
}

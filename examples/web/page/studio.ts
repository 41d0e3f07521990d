import {
  type GeneratedImage,
  type GenerateInput,
  isLayerDiffuseError,
  type LayerDiffuse,
  type Progress,
  type RateLimitError,
} from "layerdiffuse";
import { ImageStore, isFull } from "./image-store.ts";
import { type KeptJob, keepJobs } from "./kept-jobs.ts";
import { type FinishedImage, isPending, type Pause, type Picture, type PictureState } from "./picture.ts";

/** How many images are shown that the browser has not stored. A finished one among them holds its PNG in memory. */
const mostUnstored = 60;

/** Whether finished images are kept: they are, the browser has no room for more, or it keeps nothing. */
export type Storage = "kept" | "full" | "unavailable";

export interface StudioListeners {
  onChange(picture: Picture): void;
  onForget(picture: Picture): void;
  onStorage(storage: Storage): void;
}

/** The images of the page. Generates them, a few at a time, keeps them, and reports each change. */
export class Studio {
  readonly pictures: Picture[] = [];
  readonly #client: LayerDiffuse;
  readonly #concurrency: number;
  readonly #listeners: StudioListeners;
  readonly #store = ImageStore.open();
  /** Cancelled jobs that the endpoint may not know about yet. */
  readonly #cancelled = new Set<string>();
  /** While the server refuses new jobs for so long that the client gave up. */
  #pause: Pause | undefined;
  #pauseTimer = 0;

  constructor(client: LayerDiffuse, concurrency: number, listeners: StudioListeners) {
    this.#client = client;
    this.#concurrency = concurrency;
    this.#listeners = listeners;
  }

  get pending(): Picture[] {
    return this.pictures.filter(isPending);
  }

  /** Requests an image for each input and returns the first. */
  make(inputs: readonly GenerateInput[]): Picture | undefined {
    return this.#add(inputs.map((input) => ({ input })));
  }

  /** Continues with jobs that were submitted before a reload, and returns the first. */
  resume(jobs: readonly KeptJob[]): Picture | undefined {
    return this.#add(jobs.map(({ jobId, input }) => ({ jobId, input })));
  }

  #add(made: readonly Pick<Picture, "input" | "jobId">[]): Picture | undefined {
    const now = Date.now();
    // The newest comes first in the history. Of several, that is the first line.
    const pictures = made.map((each, index): Picture => {
      return { ...each, requestedAt: now - index / 1_000, state: this.#waiting() };
    });
    this.pictures.push(...pictures);
    for (const picture of pictures) this.#listeners.onChange(picture);
    this.#forgetOldest();
    this.startWaiting();
    return pictures[0];
  }

  /** Shows the images that the browser has kept, and returns the newest. */
  async restore(): Promise<Picture | undefined> {
    try {
      const stored = await (await this.#store).all();
      const known = new Set(this.pictures.map(({ jobId }) => jobId));
      const restored = stored
        .filter(({ jobId }) => !known.has(jobId))
        .map(({ input, requestedAt, jobId, image }): Picture => {
          const state = { kind: "done", image, url: URL.createObjectURL(image.blob) } as const;
          return { input, requestedAt, jobId, isStored: true, state };
        });
      restored.sort((one, other) => one.requestedAt - other.requestedAt);
      this.pictures.unshift(...restored);
      for (const picture of restored) this.#listeners.onChange(picture);
      this.#listeners.onStorage("kept");
      return restored.at(-1);
    } catch {
      this.#listeners.onStorage("unavailable");
      return undefined;
    }
  }

  /** Deletes all images that are finished or have failed, here and in the browser's storage. */
  async clear(): Promise<void> {
    for (const picture of this.pictures.filter((each) => !isPending(each))) this.#forget(picture);
    this.#keepJobs();
    try {
      await (await this.#store).clear();
      this.#listeners.onStorage("kept");
    } catch {
      this.#listeners.onStorage("unavailable");
    }
  }

  cancel(picture: Picture): void {
    if (!isPending(picture)) return;
    picture.stop?.abort();
    if (picture.jobId !== undefined) this.#cancelled.add(picture.jobId);
    this.#become(picture, { kind: "cancelled" });
    this.startWaiting();
  }

  /** Tries again. If only the connection was lost, it waits for the same job, so that you don't pay twice. */
  again(picture: Picture): void {
    if (isPending(picture)) return;
    if (!isLost(picture)) picture.jobId = undefined;
    this.#become(picture, this.#waiting());
    this.startWaiting();
  }

  /** The network is back: continues with images that lost their connection or waited for it. */
  reconnect(): void {
    for (const picture of this.pictures.filter(isLost)) this.again(picture);
    for (const jobId of this.#cancelled) {
      // It is safe to cancel again: a finished job stays as it is.
      const cancelled = this.#client.job(jobId).cancel();
      cancelled.then(
        () => this.#cancelled.delete(jobId),
        () => {},
      );
    }
    this.startWaiting();
  }

  /** Starts what can start now. Submits nothing while offline, because it couldn't know whether that arrived. */
  startWaiting(): void {
    if (!navigator.onLine) return;
    const waiting = this.pictures.filter(({ state }) => state.kind === "waiting");
    // Images that already have a job don't wait for their turn.
    for (const picture of waiting.filter(({ jobId }) => jobId !== undefined)) void this.#run(picture);
    if (this.#pause) return;
    const running = this.pictures.filter(({ state }) => state.kind === "running").length;
    const toSubmit = waiting.filter(({ jobId }) => jobId === undefined);
    for (const picture of toSubmit.slice(0, Math.max(0, this.#concurrency - running))) void this.#run(picture);
  }

  async #run(picture: Picture): Promise<void> {
    const { input, jobId } = picture;
    const stop = new AbortController();
    picture.stop = stop;
    const since = Date.now();
    const onProgress = (progress: Progress) => {
      if (progress.jobId !== undefined) picture.jobId = progress.jobId;
      const { retryAfter, error } = progress;
      const pause = retryAfter === undefined ? {} : { pause: { until: Date.now() + retryAfter, error } };
      this.#become(picture, { kind: "running", progress, since, ...pause });
    };
    onProgress({ phase: jobId === undefined ? "submitting" : "queued", elapsed: 0 });
    const options = { signal: stop.signal, onProgress };
    try {
      const image =
        jobId === undefined
          ? await this.#client.generate(input, options)
          : await this.#client.job(jobId).result(options);
      // A cancelled image was shown as cancelled at once, and may be running again by now.
      if (!stop.signal.aborted) await this.#finish(picture, finished(image));
    } catch (error) {
      if (stop.signal.aborted) return;
      const isRefused = isLayerDiffuseError(error, "rate_limited") && picture.jobId === undefined;
      if (isRefused && error.retryAfter !== undefined) this.#holdBack(picture, error, error.retryAfter);
      else this.#become(picture, { kind: "failed", error });
    } finally {
      this.startWaiting();
    }
  }

  async #finish(picture: Picture, image: FinishedImage): Promise<void> {
    picture.jobId = image.job.id;
    this.#become(picture, { kind: "done", image, url: URL.createObjectURL(image.blob) });
    this.startWaiting();
    const { input, requestedAt, jobId } = picture;
    try {
      await (await this.#store).add({ input, requestedAt, jobId, image });
      picture.isStored = true;
    } catch (error) {
      this.#listeners.onStorage(isFull(error) ? "full" : "unavailable");
    }
    this.#keepJobs();
  }

  /** The server refused for long, and nothing was submitted: goes on with this image, and all that wait, when it may. */
  #holdBack(refused: Picture, error: RateLimitError, retryAfter: number): void {
    const setPause = (pause: Pause | undefined) => {
      this.#pause = pause;
      for (const picture of this.pictures) {
        if (picture.state.kind === "waiting" && picture.jobId === undefined) this.#become(picture, this.#waiting());
      }
    };
    setPause({ until: Date.now() + retryAfter, error });
    this.#become(refused, this.#waiting());
    clearTimeout(this.#pauseTimer);
    this.#pauseTimer = window.setTimeout(
      () => {
        setPause(undefined);
        this.startWaiting();
      },
      // A browser runs a timer of more than that at once.
      Math.min(retryAfter, 2 ** 31 - 1),
    );
  }

  #waiting(): PictureState {
    return { kind: "waiting", ...(this.#pause && { pause: this.#pause }) };
  }

  #become(picture: Picture, state: PictureState): void {
    picture.state = state;
    this.#keepJobs();
    this.#listeners.onChange(picture);
  }

  /** Notes which jobs a reload must take up again. A finished one stays until its image is stored. */
  #keepJobs(): void {
    keepJobs(this.pictures.flatMap((each) => (isUnderWay(each) ? each : [])));
  }

  #forgetOldest(): void {
    const unstored = this.pictures.filter(({ isStored }) => !isStored);
    const ended = unstored.filter((picture) => !isPending(picture));
    for (const picture of ended.slice(0, Math.max(0, unstored.length - mostUnstored))) this.#forget(picture);
  }

  #forget(picture: Picture): void {
    this.pictures.splice(this.pictures.indexOf(picture), 1);
    if (picture.state.kind === "done") URL.revokeObjectURL(picture.state.url);
    this.#listeners.onForget(picture);
  }
}

function finished(image: GeneratedImage): FinishedImage {
  const { filename, width, height, seed, job } = image;
  return { blob: image.blob(), filename, width, height, seed, job };
}

/** Whether a reload can get the image from the endpoint, and from nowhere else. */
function isUnderWay(picture: Picture): picture is Picture & KeptJob {
  const isSaving = picture.state.kind === "done" && !picture.isStored;
  return picture.jobId !== undefined && (isPending(picture) || isLost(picture) || isSaving);
}

function isLost({ state, jobId }: Picture): boolean {
  return state.kind === "failed" && jobId !== undefined && isLayerDiffuseError(state.error, "connection");
}

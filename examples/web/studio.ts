import { type GenerateInput, isLayerDiffuseError, type LayerDiffuse, type Progress } from "layerdiffuse";
import { type KeptJob, keepJobs } from "./kept-jobs.ts";
import { isPending, type Picture, type PictureState } from "./picture.ts";

/** How many jobs run at once: what the proxy allows one person by default. */
const atOnce = 4;

/** How many images are kept. Each holds its PNG in memory. */
const most = 60;

/** The images of this session. Generates them, a few at a time, and reports each change. */
export class Studio {
  readonly pictures: Picture[] = [];
  readonly #client: LayerDiffuse;
  readonly #onChange: (picture: Picture) => void;
  readonly #onForget: (picture: Picture) => void;
  /** Cancelled jobs that the endpoint may not know about yet. */
  readonly #cancelled = new Set<string>();

  constructor(
    client: LayerDiffuse,
    listeners: { onChange: (picture: Picture) => void; onForget: (picture: Picture) => void },
  ) {
    this.#client = client;
    this.#onChange = listeners.onChange;
    this.#onForget = listeners.onForget;
  }

  get pending(): Picture[] {
    return this.pictures.filter(isPending);
  }

  /** Requests an image for each input and returns the first. */
  make(inputs: readonly GenerateInput[]): Picture | undefined {
    return this.#add(inputs.map((input) => ({ input, state: { kind: "waiting" } })));
  }

  /** Continues with jobs that were submitted before a reload, and returns the first. */
  resume(jobs: readonly KeptJob[]): Picture | undefined {
    return this.#add(jobs.map(({ jobId, input }) => ({ jobId, input, state: { kind: "waiting" } })));
  }

  #add(made: readonly Picture[]): Picture | undefined {
    this.pictures.push(...made);
    // The newest comes first in the history. Of several, that is the first line.
    for (const picture of made.toReversed()) this.#onChange(picture);
    this.#forgetOldest();
    this.startWaiting();
    return made[0];
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
    this.#become(picture, { kind: "waiting" });
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
    const running = this.pictures.filter(({ state }) => state.kind === "running").length;
    const toSubmit = waiting.filter(({ jobId }) => jobId === undefined);
    for (const picture of toSubmit.slice(0, Math.max(0, atOnce - running))) void this.#run(picture);
  }

  async #run(picture: Picture): Promise<void> {
    const { input, jobId } = picture;
    const stop = new AbortController();
    picture.stop = stop;
    const since = Date.now();
    const onProgress = (progress: Progress) => {
      if (progress.jobId !== undefined) picture.jobId = progress.jobId;
      const { retryAfter } = progress;
      const nextTry = retryAfter === undefined ? {} : { nextTry: Date.now() + retryAfter };
      this.#become(picture, { kind: "running", progress, since, ...nextTry });
    };
    onProgress({ phase: jobId === undefined ? "submitting" : "queued", elapsed: 0 });
    const options = { signal: stop.signal, onProgress };
    // A cancelled image was shown as cancelled at once, and may be running again by now.
    const end = (state: () => PictureState) => {
      if (!stop.signal.aborted) this.#become(picture, state());
    };
    try {
      const image =
        jobId === undefined
          ? await this.#client.generate(input, options)
          : await this.#client.job(jobId).result(options);
      end(() => ({ kind: "done", image, url: URL.createObjectURL(image.blob()) }));
    } catch (error) {
      end(() => ({ kind: "failed", error }));
    }
    this.startWaiting();
  }

  #become(picture: Picture, state: PictureState): void {
    picture.state = state;
    keepJobs(this.pictures.flatMap((each) => (isUnderWay(each) ? each : [])));
    this.#onChange(picture);
  }

  #forgetOldest(): void {
    const ended = this.pictures.filter((picture) => !isPending(picture));
    for (const picture of ended.slice(0, Math.max(0, this.pictures.length - most))) {
      this.pictures.splice(this.pictures.indexOf(picture), 1);
      if (picture.state.kind === "done") URL.revokeObjectURL(picture.state.url);
      this.#onForget(picture);
    }
  }
}

/** Whether the endpoint has a job for this image that isn't finished yet. */
function isUnderWay(picture: Picture): picture is Picture & KeptJob {
  return picture.jobId !== undefined && (isPending(picture) || isLost(picture));
}

function isLost({ state, jobId }: Picture): boolean {
  return state.kind === "failed" && jobId !== undefined && isLayerDiffuseError(state.error, "connection");
}

import { type GenerateInput, isLayerDiffuseError, type LayerDiffuse, type Progress } from "layerdiffuse";
import { type KeptJob, keepJobs } from "./kept-jobs.ts";
import { isPending, type Picture, type PictureState } from "./picture.ts";

/** Jobs at once: what a proxy allows one person unless told otherwise. */
const atOnce = 4;

/** Pictures that are kept; each holds its PNG in memory. */
const most = 60;

/** The pictures of this session: makes them, a few at a time, and says when one changes. */
export class Studio {
  readonly pictures: Picture[] = [];
  readonly #client: LayerDiffuse;
  readonly #onChange: (picture: Picture) => void;
  readonly #onForget: (picture: Picture) => void;
  /** Jobs that were cancelled, of which the endpoint may not have heard. */
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

  /** Asks for a picture of each input and answers the first. */
  make(inputs: readonly GenerateInput[]): Picture | undefined {
    return this.#add(inputs.map((input) => ({ input, state: { kind: "waiting" } })));
  }

  /** Takes jobs up again that an earlier life of the page submitted, and answers the first. */
  resume(jobs: readonly KeptJob[]): Picture | undefined {
    return this.#add(jobs.map(({ jobId, input }) => ({ jobId, input, state: { kind: "waiting" } })));
  }

  #add(made: readonly Picture[]): Picture | undefined {
    this.pictures.push(...made);
    // The newest is shown first, of several the first line.
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

  /** Once more; a job that only the connection was lost to is taken up again instead of paid for twice. */
  again(picture: Picture): void {
    if (isPending(picture)) return;
    if (!isLost(picture)) picture.jobId = undefined;
    this.#become(picture, { kind: "waiting" });
    this.startWaiting();
  }

  /** The network is back: goes on with what was lost to it, and with what waited for it. */
  reconnect(): void {
    for (const picture of this.pictures.filter(isLost)) this.again(picture);
    for (const jobId of this.#cancelled) {
      // To say it again does no harm: an ended job stays as it is.
      const cancelled = this.#client.job(jobId).cancel();
      cancelled.then(
        () => this.#cancelled.delete(jobId),
        () => {},
      );
    }
    this.startWaiting();
  }

  /** Starts what may start now. Nothing is submitted without a network: whether it arrived could not be known. */
  startWaiting(): void {
    if (!navigator.onLine) return;
    const waiting = this.pictures.filter(({ state }) => state.kind === "waiting");
    // A job that exists is in its turn.
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
      this.#become(picture, { kind: "running", progress, since });
    };
    onProgress({ phase: jobId === undefined ? "submitting" : "queued", elapsed: 0 });
    const options = { signal: stop.signal, onProgress };
    // A cancelled one has been shown as such at once, and may run again by now.
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

/** Whether the endpoint has a job whose picture is still to come. */
function isUnderWay(picture: Picture): picture is Picture & KeptJob {
  return picture.jobId !== undefined && (isPending(picture) || isLost(picture));
}

function isLost({ state, jobId }: Picture): boolean {
  return state.kind === "failed" && jobId !== undefined && isLayerDiffuseError(state.error, "connection");
}

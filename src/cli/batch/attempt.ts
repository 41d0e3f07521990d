import { type ErrorCode, isLayerDiffuseError, JobError } from "../../errors/index.ts";
import type { SubmissionWatcher } from "../jobs/open-jobs.ts";
import { AdvisedError, OutputError } from "../terminal/failures.ts";
import type { ErrorRecord } from "../terminal/report-failure.ts";
import { endings, type LineBase, type Manifest, type UnmadeState } from "./manifest.ts";
import type { Task } from "./plan.ts";

/** Whether the error means that the job is over, without an image. */
export function isOver(error: unknown): boolean {
  return isLayerDiffuseError(error) && endings.has(error.code);
}

/** Whether the worker found a field of the input wrong, so that it would again. */
export function isRefused(error: unknown): boolean {
  return error instanceof JobError && error.failure?.field !== undefined;
}

/** USD, of a job that ran and failed. */
export function costOf(error: unknown): number | undefined {
  return error instanceof JobError ? error.cost : undefined;
}

/** Errors of the connection, which every other prompt would meet too. */
const sameForAll: ReadonlySet<ErrorCode> = new Set(["configuration", "authentication", "endpoint_not_found"]);

/** Whether every other prompt would fail for the same reason. */
export function stopsAll(error: unknown): boolean {
  const cause = error instanceof AdvisedError ? error.cause : error;
  if (cause instanceof OutputError) return !cause.isTaken;
  if (!isLayerDiffuseError(cause)) return !(cause instanceof Error && cause.name === "AbortError");
  // 402: the account has no credit.
  return sameForAll.has(cause.code) || cause.status === 402;
}

export interface AttemptContext {
  manifest: Manifest;
  endpoint: string;
  /** Once it has aborted, nothing is sent any more. */
  signal: AbortSignal;
  /** Told when a step cannot be written down, so that nothing more is submitted. */
  onBroken: (error: unknown) => void;
}

/** One prompt at work: what is known of its job, each step written down before the next is taken. */
export class Attempt implements SubmissionWatcher {
  readonly task: Task;
  readonly #manifest: Manifest;
  readonly #base: LineBase;
  readonly #signal: AbortSignal;
  readonly #onBroken: (error: unknown) => void;
  #jobId: string | undefined;
  #seed: number | undefined;
  /** What the manifest says by now. */
  #state: UnmadeState = "not_submitted";

  constructor(task: Task, { manifest, endpoint, signal, onBroken }: AttemptContext) {
    const { position, line, input, key } = task;
    this.task = task;
    this.#manifest = manifest;
    this.#base = { position, line, prompt: input.prompt, key, endpoint };
    this.#signal = signal;
    this.#onBroken = onBroken;
    this.#jobId = task.job?.id;
    this.#seed = task.job?.seed;
  }

  get jobId(): string | undefined {
    return this.#jobId;
  }

  get seed(): number | undefined {
    return this.#seed;
  }

  /** What the manifest's lines about this prompt have in common. */
  get base(): LineBase {
    return this.#base;
  }

  /** Whether a submission is on its way, or got no clear answer. */
  get isInDoubt(): boolean {
    return this.#jobId === undefined && (this.#state === "submitting" || this.#state === "unknown");
  }

  /** Gives up the job, and starts anew with a seed of its own. */
  startAnew(seed: number): void {
    this.#jobId = undefined;
    this.#state = "not_submitted";
    this.#seed = seed;
  }

  async onSend(): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#state !== "submitting") await this.#step("submitting");
    if (!this.#signal.aborted) return;
    await this.#step("not_submitted");
    this.#signal.throwIfAborted();
  }

  async onJob(id: string): Promise<void> {
    this.#jobId = id;
    await this.#step("submitted");
  }

  async onNoJob(arrived: "no" | "unknown"): Promise<void> {
    if (this.#jobId === undefined) await this.#step(arrived === "no" ? "not_submitted" : "unknown");
  }

  /** How it stands after an error that ended this run's work on it. */
  stateAfter(error: unknown): UnmadeState {
    if (this.#jobId !== undefined) return isOver(error) ? "failed" : "open";
    return this.isInDoubt || isLayerDiffuseError(error, "submission_unknown") ? "unknown" : "failed";
  }

  /** @throws OutputError */
  async write(state: UnmadeState, error?: ErrorRecord): Promise<void> {
    await this.#manifest.add({
      ...this.#base,
      state,
      jobId: this.#jobId,
      seed: this.#seed,
      ...(error && { error }),
    });
    this.#state = state;
  }

  async #step(state: UnmadeState): Promise<void> {
    try {
      await this.write(state);
    } catch (error) {
      this.#onBroken(error);
      throw error;
    }
  }
}

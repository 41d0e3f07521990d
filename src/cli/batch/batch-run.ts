import { join, resolve } from "node:path";
import { runMany } from "../../client/generate-many.ts";
import type { GeneratedImage } from "../../image/generated-image.ts";
import { randomSeed } from "../../protocol/generate-input.ts";
import { isLate, noteInterruption, patience } from "../jobs/abandon.ts";
import type { Connected } from "../jobs/connect.ts";
import { imageRecord, warningLines } from "../jobs/image-record.ts";
import { cancelCommand, isKept } from "../jobs/job-commands.ts";
import { exists, OutputFile } from "../jobs/output-file.ts";
import { AdvisedError, BatchError, Interruption } from "../terminal/failures.ts";
import { count, duration } from "../terminal/format.ts";
import { errorRecord, shownMessage } from "../terminal/report-failure.ts";
import type { Session } from "../terminal/session.ts";
import { Attempt, costOf, isOver, isRefused, stopsAll } from "./attempt.ts";
import {
  type BatchFlags,
  costWords,
  doubtWords,
  failureWords,
  fileWords,
  nameOf,
  strayWords,
} from "./batch-messages.ts";
import { BatchProgress, Tally } from "./batch-progress.ts";
import type { Manifest, ManifestLine, State } from "./manifest.ts";
import type { Plan, Task } from "./plan.ts";

interface Result {
  attempt: Attempt;
  image?: GeneratedImage;
  /** Whether the file has appeared since the batch began. */
  isThere?: boolean;
  error?: unknown;
}

/** A batch at work: takes jobs up, submits the rest, and writes what becomes of each. */
export class BatchRun {
  readonly #session: Session;
  readonly #flags: BatchFlags;
  readonly #connected: Connected;
  readonly #plan: Plan;
  readonly #manifest: Manifest;
  readonly #tally: Tally;
  readonly #progress: BatchProgress;
  /** Those at work, and those whose job is still to be taken up. */
  readonly #attempts = new Map<Task, Attempt>();
  /** Aborts on Ctrl-C, and where the manifest cannot be written. */
  readonly #stop: AbortSignal;
  readonly #broken = new AbortController();
  /** Cancellations to wait for at the end. */
  readonly #background = new Set<Promise<void>>();

  constructor(session: Session, flags: BatchFlags, connected: Connected, plan: Plan, manifest: Manifest) {
    this.#session = session;
    this.#flags = flags;
    this.#connected = connected;
    this.#plan = plan;
    this.#manifest = manifest;
    this.#stop = AbortSignal.any([session.signal, this.#broken.signal]);
    this.#tally = new Tally(plan.there + plan.tasks.length + plan.doubtful.length);
    this.#tally.skipped = plan.there;
    this.#progress = new BatchProgress(session, this.#tally);
  }

  async run(): Promise<void> {
    const { tasks } = this.#plan;
    try {
      await this.#tellPlan();
      const run = (task: Task, _: number, signal: AbortSignal) => this.#run(task, signal);
      for await (const result of runMany(tasks, this.#flags.concurrency, this.#stop, run)) await this.#settle(result);
    } catch (error) {
      this.#progress.stop();
      throw await this.#stopAll(error);
    } finally {
      this.#progress.stop();
    }
    await this.#conclude();
  }

  /** What earlier runs left, before anything is sent. */
  async #tellPlan(): Promise<void> {
    const { tasks, doubtful, strays } = this.#plan;
    for (const task of tasks) {
      if (!task.job) continue;
      this.#attemptAt(task);
      this.#connected.jobs.takeUp(task.job.id);
    }
    const known = this.#attempts.size;
    if (known > 0) await this.#session.note(`taking up ${count(known, "job", "jobs")} of an earlier run`);
    for (const stray of strays) await this.#session.note(strayWords(stray, this.#connected.endpoint));
    for (const task of doubtful) {
      this.#tally.failed++;
      this.#tally.doubtful++;
      const message = doubtWords(task, this.#flags);
      const error = { code: "submission_unknown", message };
      if (this.#session.isJson) {
        const { position, line, input, key } = task;
        const { endpoint } = this.#connected;
        await this.#say({ position, line, prompt: input.prompt, key, endpoint, state: "unknown", error });
      }
      await this.#progress.failed(nameOf(task), message);
    }
  }

  #attemptAt(task: Task): Attempt {
    const known = this.#attempts.get(task);
    if (known) return known;
    const { endpoint } = this.#connected;
    const onBroken = (error: unknown) => this.#broken.abort(error);
    const attempt = new Attempt(task, { manifest: this.#manifest, endpoint, signal: this.#stop, onBroken });
    this.#attempts.set(task, attempt);
    return attempt;
  }

  /** One prompt, to its image or its error. It rejects only when `signal` has aborted. */
  async #run(task: Task, signal: AbortSignal): Promise<Result> {
    const path = resolve(this.#session.io.cwd, this.#flags.output, task.file);
    const attempt = this.#attemptAt(task);
    this.#tally.running++;
    try {
      if (!this.#flags.force && (await exists(path))) return { attempt, isThere: true };
      return { attempt, image: await this.#generate(attempt, signal) };
    } catch (error) {
      signal.throwIfAborted();
      return { attempt, error };
    }
  }

  async #generate(attempt: Attempt, signal: AbortSignal): Promise<GeneratedImage> {
    const { timeout: executionTimeout, queueTimeout, mode } = this.#flags;
    const { client, jobs } = this.#connected;
    // This program cancels by itself, and waits to see it done.
    const options = { signal, executionTimeout, queueTimeout, cancelOnAbort: false };
    const { job, input } = attempt.task;
    if (job) {
      // Under the entry's position of today, to which the job belongs from now on.
      await attempt.write("submitted");
      try {
        return await client.job(job.id).result(options);
      } catch (error) {
        if (!isOver(error)) throw error;
        this.#tally.spend(costOf(error));
        jobs.close(job.id);
        await attempt.write("failed", errorRecord(error));
        await this.#session.note(`submitting ${nameOf(attempt.task)} again: ${shownMessage(error, this.#session)}`);
      }
    }
    attempt.startAnew(input.seed ?? randomSeed());
    const own = client.withOptions({ fetch: jobs.fetchFor(attempt) });
    return await own.generate({ ...input, seed: attempt.seed }, { ...options, mode });
  }

  async #settle(result: Result): Promise<void> {
    this.#tally.running--;
    const { attempt, image, isThere, error } = result;
    if (isThere) {
      this.#tally.skipped++;
      this.#connected.jobs.close(attempt.jobId);
    } else if (image) await this.#save(attempt, image);
    else await this.#fail(attempt, error);
    this.#attempts.delete(attempt.task);
  }

  async #save(attempt: Attempt, image: GeneratedImage): Promise<void> {
    const { io } = this.#session;
    const { file: name } = attempt.task;
    const path = join(this.#flags.output, name);
    this.#connected.jobs.close(image.job.id);
    this.#tally.spend(image.job.cost);
    try {
      const file = await OutputFile.prepare(path, { cwd: io.cwd, force: this.#flags.force ?? false });
      await file.write(image.bytes);
    } catch (cause) {
      return await this.#fail(attempt, new AdvisedError(cause, image.job.id, isKept(image.job.id, this.#flags)));
    }
    this.#tally.made++;
    const record = imageRecord(image);
    await this.#say({
      ...attempt.base,
      state: "made",
      file: name,
      ...record,
      seed: record.seed ?? attempt.seed,
    });
    await this.#progress.made(name);
    for (const warning of warningLines(image, `${name}: `)) await this.#session.note(warning);
  }

  /** Writes how a prompt ended into the manifest, then says it on stdout. */
  async #say(line: ManifestLine): Promise<void> {
    if (line.state === "made") {
      await this.#manifest.add(line);
      await this.#session.answer(this.#session.isJson ? JSON.stringify(line) : join(this.#flags.output, line.file));
    } else if (this.#session.isJson) await this.#session.answer(JSON.stringify(line));
  }

  async #fail(attempt: Attempt, error: unknown): Promise<void> {
    const { jobs, client } = this.#connected;
    const record = errorRecord(error);
    const state = attempt.stateAfter(error);
    const id = attempt.jobId;
    this.#tally.failed++;
    this.#tally.spend(costOf(error));
    if (state === "failed" && isRefused(error)) this.#tally.refused++;
    if (state === "open") this.#tally.open++;
    if (state === "unknown") this.#tally.doubtful++;
    const isFatal = stopsAll(error);
    await attempt.write(state, record).catch((cause: unknown) => {
      // What happened first says more, and its advice names the job.
      if (!isFatal) throw cause;
    });
    if (isFatal) throw error;
    if (isLate(error) && id !== undefined) {
      const cancelling = async () => {
        if ((await jobs.cancel(client.endpoint, id, patience)) !== "cancelled") return;
        this.#tally.open--;
        await attempt.write("cancelled", record);
      };
      // Where the manifest cannot be written any more, the next run finds out by itself.
      this.#inBackground(cancelling().catch(() => {}));
    } else jobs.close(id);
    await this.#say({ ...attempt.base, state, jobId: id, seed: attempt.seed, error: record });
    await this.#progress.failed(
      nameOf(attempt.task),
      `${shownMessage(error, this.#session)}${this.#hintAfter(error, state, attempt)}`,
    );
  }

  /** What to do about the job behind a failure, as a sentence of its own. */
  #hintAfter(error: unknown, state: State, { jobId, task }: Attempt): string {
    // The next run sees a file in the image's place, and leaves it alone.
    if (error instanceof AdvisedError) return ` ${error.advice}`;
    if (state === "unknown") return ` ${fileWords(task.file, this.#flags)}`;
    return state === "open" && !isLate(error) ? ` Run the same command again to take up job ${jobId}.` : "";
  }

  #inBackground(task: Promise<void>): void {
    const tracked = task.finally(() => this.#background.delete(tracked));
    this.#background.add(tracked);
  }

  /** Cancels the running jobs, says what became of each, and how to go on. */
  async #stopAll(error: unknown): Promise<unknown> {
    const { jobs, client } = this.#connected;
    if (error instanceof Interruption) await noteInterruption(this.#session, jobs, error);
    const { cancelled, completed, uncertain } = await jobs.cancelAll(client.endpoint, patience);
    const advice: string[] = error instanceof AdvisedError ? [error.advice] : [];
    for (const attempt of this.#attempts.values()) {
      const { jobId: id, task } = attempt;
      const name = nameOf(task);
      if (id === undefined) {
        if (!attempt.isInDoubt) continue;
        advice.push(
          `The submission of ${name} got no clear answer: a job may exist. The next run does not send it again.`,
        );
        await attempt.write("unknown").catch(() => {});
      } else if (cancelled.includes(id)) {
        advice.push(`Cancelled job ${id}: ${name}.`);
        await attempt.write("cancelled").catch(() => {});
      } else if (completed.includes(id)) {
        advice.push(`Job ${id} has completed: ${name}. The next run fetches its image.`);
        await attempt.write("open").catch(() => {});
      } else if (uncertain.includes(id)) {
        const how = cancelCommand(id, this.#flags);
        advice.push(
          `Job ${id} may still be running: ${name}. Its cancellation got no answer. The next run takes it up; to stop it: ${how}`,
        );
        await attempt.write("open").catch(() => {});
      }
    }
    advice.push(`${this.#tally.words()}${costWords(this.#tally)}. Run the same command again to go on from here.`);
    const cause = error instanceof AdvisedError ? error.cause : error;
    return new AdvisedError(cause, undefined, advice.filter(Boolean).join("\n"));
  }

  async #conclude(): Promise<void> {
    await Promise.all(this.#background);
    const { made, failed, skipped } = this.#tally;
    const parts = [`${made} made`, `${skipped} there already`, `${failed} failed`];
    const took = duration(this.#progress.elapsed);
    await this.#session.note(`done in ${took}: ${parts.join(", ")}${costWords(this.#tally)}; ${this.#manifest.path}`);
    if (failed === 0) return;
    throw new BatchError(failureWords(this.#tally, this.#flags));
  }
}

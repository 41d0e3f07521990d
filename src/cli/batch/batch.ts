import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { ManyResult } from "../../client/call-options.ts";
import { type ErrorCode, InvalidInputError, isLayerDiffuseError } from "../../errors/index.ts";
import type { GenerateInput } from "../../protocol/generate-input.ts";
import { isKept, isLate, noteInterruption, outcomeWords, patience } from "../jobs/abandon.ts";
import { type Connected, connect } from "../jobs/connect.ts";
import { type GenerateFlags, inputOf } from "../jobs/generate-image.ts";
import { imageRecord, warningLines } from "../jobs/image-record.ts";
import { exists, OutputFile } from "../jobs/output-file.ts";
import { AdvisedError, BatchError, Interruption, OutputError, reasonOf, systemCodeOf } from "../terminal/failures.ts";
import { count, duration } from "../terminal/format.ts";
import { errorRecord, shownMessage } from "../terminal/report-failure.ts";
import type { Session } from "../terminal/session.ts";
import { BatchProgress, Tally } from "./batch-progress.ts";
import { fileName } from "./file-name.ts";
import { Manifest } from "./manifest.ts";
import { PromptList } from "./prompt-list.ts";

export interface BatchFlags extends GenerateFlags {
  /** The list of prompts; `-` for standard input. */
  batch: string;
  concurrency: number;
}

/** `layerdiffuse generate --batch LIST -o FOLDER`: one image per prompt. Images that are there already are not made again. */
export async function batch(session: Session, flags: BatchFlags): Promise<void> {
  const list = await PromptList.open(flags.batch, session.io);
  const connected = connect(session, flags);
  const folder = await makeFolder(session, flags.output);
  const manifest = await Manifest.open(folder);
  try {
    await new Batch(session, flags, connected, list, manifest).run();
  } finally {
    await manifest.close();
  }
}

async function makeFolder({ io }: Session, path: string): Promise<string> {
  const folder = resolve(io.cwd, path);
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    const why = systemCodeOf(cause) === "EEXIST" ? "it is a file" : reasonOf(cause);
    throw new OutputError(`Cannot make the folder ${path}: ${why}.`, { cause });
  }
  return folder;
}

/** A prompt of the list, as the manifest names it. */
interface Prompt {
  position: number;
  prompt: string;
}

class Batch {
  readonly #session: Session;
  readonly #flags: BatchFlags;
  readonly #connected: Connected;
  readonly #list: PromptList;
  readonly #manifest: Manifest;
  readonly #tally: Tally;
  readonly #progress: BatchProgress;
  /** What the client is working on, by its index. */
  readonly #taken = new Map<number, Prompt & { file: string }>();
  #count = 0;
  /** Cancellations to wait for at the end. */
  readonly #background = new Set<Promise<void>>();

  constructor(session: Session, flags: BatchFlags, connected: Connected, list: PromptList, manifest: Manifest) {
    this.#session = session;
    this.#flags = flags;
    this.#connected = connected;
    this.#list = list;
    this.#manifest = manifest;
    this.#tally = new Tally(list.total);
    this.#progress = new BatchProgress(session, this.#tally);
  }

  async run(): Promise<void> {
    const { timeout, queueTimeout, mode, concurrency } = this.#flags;
    const { signal } = this.#session;
    try {
      const results = this.#connected.client.generateMany(this.#inputs(), {
        signal,
        concurrency,
        mode,
        executionTimeout: timeout,
        queueTimeout,
        // This program cancels by itself, and waits to see it done.
        cancelOnAbort: false,
      });
      for await (const result of results) await this.#settle(result);
    } catch (error) {
      this.#progress.stop();
      throw await this.#stopAll(error);
    } finally {
      this.#progress.stop();
    }
    await this.#conclude();
  }

  /** What to generate, read from the list as the client asks for it. */
  async *#inputs(): AsyncGenerator<GenerateInput, void, undefined> {
    const { output, force } = this.#flags;
    for await (const entry of this.#list.entries(inputOf(this.#flags))) {
      const { position, input, issues } = entry;
      if (issues) {
        await this.#fail({ position, prompt: entry.prompt }, new InvalidInputError(issues));
        continue;
      }
      const file = fileName(position, input);
      if (!force && (await exists(resolve(this.#session.io.cwd, output, file)))) {
        this.#tally.skipped++;
        continue;
      }
      this.#taken.set(this.#count++, { position, prompt: input.prompt, file });
      this.#tally.running++;
      yield input;
    }
  }

  async #settle({ index, image, error }: ManyResult<GenerateInput>): Promise<void> {
    const taken = this.#taken.get(index);
    if (!taken) throw new Error(`No entry has the count ${index}.`);
    this.#taken.delete(index);
    this.#tally.running--;
    if (!image) return await this.#fail(taken, error);
    this.#connected.jobs.close(image.job.id);
    const { io, isJson } = this.#session;
    const path = join(this.#flags.output, taken.file);
    try {
      const file = await OutputFile.prepare(path, { cwd: io.cwd, force: this.#flags.force ?? false });
      await file.write(image.bytes);
    } catch (cause) {
      return await this.#fail(taken, new AdvisedError(cause, image.job.id, isKept(image.job.id)));
    }
    this.#tally.made++;
    const line = { ...taken, ...imageRecord(image) };
    await this.#manifest.add(line);
    await this.#session.answer(isJson ? JSON.stringify(line) : path);
    await this.#progress.made(taken.file);
    for (const warning of warningLines(image, `${taken.file}: `)) await this.#session.note(warning);
  }

  async #fail({ position, prompt }: Prompt, error: unknown): Promise<void> {
    const { jobs, client } = this.#connected;
    const record = errorRecord(error);
    if (isLate(error) && record.jobId) this.#inBackground(jobs.cancel(client.endpoint, record.jobId, patience));
    else jobs.close(record.jobId);
    this.#tally.failed++;
    const line = { position, prompt, error: record };
    await this.#manifest.add(line);
    if (stopsAll(error)) throw error;
    if (this.#session.isJson) await this.#session.answer(JSON.stringify(line));
    await this.#progress.failed(position, shownMessage(error, this.#session));
  }

  #inBackground(task: Promise<void>): void {
    const tracked = task.finally(() => this.#background.delete(tracked));
    this.#background.add(tracked);
  }

  /** Cancels the running jobs, and says how to go on. */
  async #stopAll(error: unknown): Promise<unknown> {
    const { jobs, client } = this.#connected;
    if (error instanceof Interruption) await noteInterruption(this.#session, jobs, error);
    const advice = [outcomeWords(await jobs.cancelAll(client.endpoint, patience))];
    if (error instanceof AdvisedError) advice.unshift(error.advice);
    advice.push(`${this.#tally.words()}. Run the same command again to go on from here.`);
    const cause = error instanceof AdvisedError ? error.cause : error;
    return new AdvisedError(cause, undefined, advice.filter(Boolean).join("\n"));
  }

  async #conclude(): Promise<void> {
    await Promise.all(this.#background);
    const { made, failed, skipped } = this.#tally;
    const parts = [`${made} made`, `${skipped} there already`, `${failed} failed`];
    await this.#session.note(
      `done in ${duration(this.#progress.elapsed)}: ${parts.join(", ")}; ${this.#manifest.path}`,
    );
    if (failed === 0) return;
    throw new BatchError(
      `${count(failed, "prompt", "prompts")} of ${this.#tally.over} failed. Run the same command again to retry them.`,
    );
  }
}

/** Errors of the connection, which every other prompt would meet too. */
const sameForAll: ReadonlySet<ErrorCode> = new Set(["configuration", "authentication", "endpoint_not_found"]);

/** Whether every other prompt would fail for the same reason. */
function stopsAll(error: unknown): boolean {
  const cause = error instanceof AdvisedError ? error.cause : error;
  if (cause instanceof OutputError) return !cause.isTaken;
  if (!isLayerDiffuseError(cause)) return !(cause instanceof Error && cause.name === "AbortError");
  // 402: the account has no credit.
  return sameForAll.has(cause.code) || cause.status === 402;
}

import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { InvalidInputError } from "../../errors/index.ts";
import { makeFolder } from "../../local/store/make-folder.ts";
import { connect } from "../jobs/connect.ts";
import { inputOf } from "../jobs/generate-image.ts";
import { OutputError, reasonOf, systemCodeOf } from "../terminal/failures.ts";
import { count, sentence } from "../terminal/format.ts";
import { isTerminal } from "../terminal/io.ts";
import type { Session } from "../terminal/session.ts";
import type { BatchFlags } from "./batch-messages.ts";
import { BatchRun } from "./batch-run.ts";
import { dryRun } from "./dry-run.ts";
import { FolderLock } from "./folder-lock.ts";
import { Manifest, readManifest } from "./manifest.ts";
import { planBatch } from "./plan.ts";
import { type PromptList, readPromptList, type WrongLine } from "./prompt-list.ts";

/**
 * `layerdiffuse generate --batch LIST -o FOLDER`: one image per prompt. Images that are there are not made again, and
 * jobs of earlier runs are taken up.
 */
export async function batch(session: Session, flags: BatchFlags): Promise<void> {
  const { signal, io } = session;
  // A wrong setup is told before a list is typed.
  const connected = flags.dryRun ? undefined : connect(session, flags, { showsProgress: false });
  if (flags.batch === "-" && isTerminal(io.stdin)) {
    await session.note("Type one prompt per line. Ctrl-D ends the list.");
  }
  const list = await readPromptList(flags.batch, { ...io, signal }, inputOf(flags));
  if (list.wrong.length > 0) throw await refused(session, list);
  if (!connected) return await dryRun(session, flags, list);
  const folder = await prepareFolder(session, flags.output);
  const lock = await FolderLock.acquire(folder);
  try {
    const { lines, writtenAt, unreadable } = await readManifest(folder);
    const manifest = await Manifest.open(folder);
    if (unreadable.length > 0) {
      await session.note(`${manifest.path}: line ${unreadable.join(", ")} is damaged and is ignored.`);
    }
    const plan = planBatch({
      entries: list.entries,
      files: await readdir(folder),
      lines,
      writtenAt,
      endpoint: connected.endpoint,
      force: flags.force ?? false,
      resubmitUnknown: flags.resubmitUnknown ?? false,
      now: Date.now(),
    });
    await new BatchRun(session, flags, connected, plan, manifest).run().finally(() => manifest.close());
  } finally {
    await lock.release();
  }
}

/** How many wrong lines are shown: of a wrong file, the first say enough. */
const mostWrong = 20;

/** Tells what is wrong with a list, line by line, before anything of it is paid for. */
async function refused(session: Session, { name, wrong }: PromptList): Promise<unknown> {
  const shown = wrong.slice(0, mostWrong);
  const message = ({ line, message }: WrongLine) => `${name}, line ${line}: ${message}`;
  for (const each of shown) {
    await session.warn(sentence(message(each)));
    const error = { code: "invalid_input", message: message(each) };
    if (session.isJson) await session.answer(JSON.stringify({ line: each.line, error }));
  }
  if (wrong.length > shown.length) await session.warn(`… and ${wrong.length - shown.length} more.`);
  const what = `${count(wrong.length, "line", "lines")} of the list must be corrected first`;
  return new InvalidInputError([{ path: [], message: what }], "prompts");
}

async function prepareFolder({ io }: Session, path: string): Promise<string> {
  const folder = resolve(io.cwd, path);
  try {
    makeFolder(folder);
  } catch (cause) {
    const why = systemCodeOf(cause) === "EEXIST" ? "it is a file" : reasonOf(cause);
    throw new OutputError(`Cannot make the folder ${path}: ${why}.`, { cause });
  }
  return folder;
}

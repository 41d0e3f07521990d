import type { GenerateInput } from "../../protocol/generate-input.ts";
import { UsageError } from "../terminal/failures.ts";
import { isTerminal } from "../terminal/io.ts";
import { JobProgress } from "../terminal/progress-view.ts";
import type { Session } from "../terminal/session.ts";
import { decodeText, readAll } from "../terminal/text-file.ts";
import { abandon } from "./abandon.ts";
import { type ConnectionFlags, connect } from "./connect.ts";
import { deliver, type OutputFlags, prepareDestination } from "./destination.ts";

/** The options that say what to draw and how. */
export interface InputFlags {
  negative?: string;
  seed?: number;
  steps?: number;
  cfgScale?: number;
  width?: number;
  height?: number;
  sampler?: string;
  scheduler?: string;
  preset?: string;
}

export interface WaitFlags {
  /** Milliseconds. */
  timeout?: number;
  queueTimeout?: number;
}

export interface GenerateFlags extends ConnectionFlags, InputFlags, OutputFlags, WaitFlags {
  mode?: "async" | "sync";
}

/** `layerdiffuse generate PROMPT`: one image. `-` reads the prompt from standard input. */
export async function generate(session: Session, argument: string, flags: GenerateFlags): Promise<void> {
  const destination = await prepareDestination(session, flags);
  const connected = connect(session, flags);
  session.places = { ...session.places, input: "flags" };
  const prompt = argument === "-" ? await promptFromStdin(session) : argument;
  for (const text of [prompt, flags.negative]) refuseLost(text);
  const progress = new JobProgress(session);
  const image = await connected.client
    .generate(
      { prompt, ...inputOf(flags) },
      {
        signal: session.signal,
        onProgress: progress.update,
        mode: flags.mode,
        executionTimeout: flags.timeout,
        queueTimeout: flags.queueTimeout,
        // This program cancels by itself, and waits to see it done.
        cancelOnAbort: false,
      },
    )
    .catch(async (error: unknown) => {
      progress.stop();
      throw await abandon(session, connected, error, flags);
    })
    .finally(() => progress.stop());
  await deliver(session, image, destination, progress.elapsed, flags);
}

async function promptFromStdin(session: Session): Promise<string> {
  const { io, signal } = session;
  if (isTerminal(io.stdin)) await session.note("Type the prompt. Ctrl-D ends it.");
  const name = "Standard input";
  const prompt = decodeText(await readAll(io.stdin, name, signal), name).trim();
  if (prompt === "") throw new UsageError(`${name} holds no prompt. For example: layerdiffuse generate - < prompt.txt`);
  return prompt;
}

/** A terminal or a script in another encoding than UTF-8 loses characters before this program sees them. */
function refuseLost(text: string | undefined): void {
  if (!text?.includes("\uFFFD")) return;
  throw new UsageError(
    "The prompt has lost a character (U+FFFD stands for it), because the terminal or script is not in UTF-8. Save the prompt as UTF-8, and pass - to read it from stdin.",
  );
}

/** The input's fields that were given, without those left out. */
export function inputOf(flags: InputFlags): Omit<GenerateInput, "prompt"> {
  const { negative: negativePrompt, seed, steps, cfgScale, width, height, sampler, scheduler, preset } = flags;
  const fields = { negativePrompt, seed, steps, cfgScale, width, height, sampler, scheduler, preset };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

import type { GenerateInput } from "../../protocol/generate-input.ts";
import { JobProgress } from "../terminal/progress-view.ts";
import type { Session } from "../terminal/session.ts";
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

/** `layerdiffuse generate PROMPT`: one image. */
export async function generate(session: Session, prompt: string, flags: GenerateFlags): Promise<void> {
  const destination = await prepareDestination(session, flags);
  const connected = connect(session, flags);
  session.places = { ...session.places, input: "flags" };
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
      throw await abandon(session, connected, error);
    })
    .finally(() => progress.stop());
  await deliver(session, image, destination, progress.elapsed);
}

/** The input's fields that were given, without those left out. */
export function inputOf(flags: InputFlags): Omit<GenerateInput, "prompt"> {
  const { negative: negativePrompt, seed, steps, cfgScale, width, height, sampler, scheduler, preset } = flags;
  const fields = { negativePrompt, seed, steps, cfgScale, width, height, sampler, scheduler, preset };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** What a batch is asked for, and what it says to people about prompts and their jobs. */
import { join } from "node:path";
import type { GenerateFlags } from "../jobs/generate-image.ts";
import { resultCommand } from "../jobs/job-commands.ts";
import { clip, count, dollars, oneLine } from "../terminal/format.ts";
import type { Tally } from "./batch-progress.ts";
import type { DoubtfulTask, Stray } from "./plan.ts";
import type { Entry } from "./prompt-list.ts";

export interface BatchFlags extends GenerateFlags {
  /** The list of prompts; `-` for standard input. */
  batch: string;
  concurrency: number;
  /** Says what would be done and what it may cost, and does nothing. */
  dryRun?: boolean;
  /** Submits prompts again whose last submission got no clear answer. */
  resubmitUnknown?: boolean;
}

/** A prompt as a message names it: `line 3 ("a red apple")`. */
export function nameOf({ line, input }: Entry): string {
  return `line ${line} (${quotedPrompt(input.prompt)})`;
}

export function quotedPrompt(prompt: string): string {
  return JSON.stringify(clip(oneLine(prompt), 60));
}

/** What can be done about a job that this run leaves alone. */
export function strayWords({ jobId, prompt, endpoint }: Stray, own: string | undefined): string {
  const [, baseUrl, id] = endpoint === own ? [] : (/^(.*)\/([^/]+)$/.exec(endpoint ?? "") ?? []);
  const flags = id === undefined || baseUrl === undefined ? {} : { endpoint: id, baseUrl };
  const why = flags.endpoint === undefined ? "its prompt is not in the list any more" : "it is on another endpoint";
  return `Job ${jobId} (${quotedPrompt(prompt)}) is left alone, because ${why}. To fetch its image: ${resultCommand(jobId, flags)}`;
}

/** Why a prompt is not submitted again. */
export function doubtWords({ jobId, file }: DoubtfulTask, flags: BatchFlags): string {
  if (jobId === undefined) {
    return `An earlier submission got no clear answer, so a job may exist. It was not sent again. ${fileWords(file, flags)}`;
  }
  const command = resultCommand(jobId, { ...flags, output: join(flags.output, file), force: false });
  return `An earlier version of this program left job ${jobId}, which may hold the image: ${command}. It was not sent again.`;
}

/** Where the image of a job goes that the user may find. */
export function fileWords(file: string, { output }: BatchFlags): string {
  return `The file of its image is ${join(output, file)}.`;
}

/** What the jobs of a run cost, failed ones included, where that is known. */
export function costWords({ cost }: Tally): string {
  return cost === undefined ? "" : `, cost ${dollars(cost)}`;
}

/** The end of a batch with failures, and what to do about each kind. */
export function failureWords({ failed, over, open, refused, doubtful }: Tally, flags: BatchFlags): string {
  const parts = [`${count(failed, "prompt", "prompts")} of ${over} failed.`];
  const again = failed - doubtful - refused;
  if (again > 0) parts.push(`Run the same command again to retry ${again === failed ? "them" : again}.`);
  if (open > 0) parts.push(`It takes up ${count(open, "job", "jobs")} that may still run or hold an image.`);
  if (refused > 0) {
    const them = refused === 1 ? "it" : "them";
    parts.push(`The worker refused the input of ${count(refused, "prompt", "prompts")}: correct ${them} first.`);
  }
  if (doubtful > 0) {
    const { output: _, force: __, ...where } = flags;
    const command = resultCommand("ID", where);
    parts.push(
      `${count(doubtful, "prompt is", "prompts are")} in doubt. Look in the RunPod console for a job of yours, and fetch its image to the ` +
        `file that is named above: ${command}. To submit again all the same, and perhaps pay twice: --resubmit-unknown.`,
    );
  }
  return parts.join(" ");
}

import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { connectionDefaults } from "../../runpod/option-defaults.ts";
import { endpointName } from "../jobs/connect.ts";
import { OutputError, reasonOf, systemCodeOf } from "../terminal/failures.ts";
import { count, dollars, duration } from "../terminal/format.ts";
import type { Session } from "../terminal/session.ts";
import type { BatchFlags } from "./batch-messages.ts";
import { type ReadLine, readManifest } from "./manifest.ts";
import { planBatch } from "./plan.ts";
import type { PromptList } from "./prompt-list.ts";

/** `--dry-run`: says what the batch would do and what it may cost. It needs no key, sends nothing and writes nothing. */
export async function dryRun(session: Session, flags: BatchFlags, { name, entries }: PromptList): Promise<void> {
  const folder = resolve(session.io.cwd, flags.output);
  const { endpoint = session.variables.endpointId, baseUrl = session.variables.baseUrl } = flags;
  const { lines, writtenAt } = await readManifest(folder);
  const plan = planBatch({
    entries,
    files: await filesIn(folder, flags.output),
    lines,
    writtenAt,
    endpoint: endpoint === undefined ? undefined : endpointName(endpoint, baseUrl),
    force: flags.force ?? false,
    resubmitUnknown: flags.resubmitUnknown ?? false,
    now: Date.now(),
  });
  const takeUp = plan.tasks.filter(({ job }) => job).length;
  const submit = plan.tasks.length - takeUp;
  const estimate = estimateOf(submit, lines, flags);
  if (session.isJson) {
    const counts = { prompts: entries.length, there: plan.there, takeUp, doubtful: plan.doubtful.length, submit };
    return await session.answer(JSON.stringify({ dryRun: true, ...counts, ...estimate }));
  }
  const rows = [
    `${count(entries.length, "prompt", "prompts")} in ${name}: ${plan.there} there already, ${submit} to submit`,
  ];
  if (takeUp > 0) rows.push(`${count(takeUp, "job", "jobs")} of an earlier run to take up, without another submission`);
  if (plan.doubtful.length > 0) {
    rows.push(`${plan.doubtful.length} in doubt: a job may exist. Not submitted again without --resubmit-unknown`);
  }
  rows.push(estimateWords(submit, estimate, flags), "This was a dry run: nothing was sent or written.");
  for (const row of rows) await session.answer(row);
}

async function filesIn(folder: string, shown: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if (systemCodeOf(cause) === "ENOENT") return [];
    throw new OutputError(`Cannot read the folder ${shown}: ${reasonOf(cause)}.`, { cause });
  }
}

/** What the jobs to submit may take and cost, as far as it is known: milliseconds and USD. */
interface Estimate {
  /** The mean of the images in the manifest. */
  executionTime?: number;
  /** How many images that is. */
  samples?: number;
  cost?: number;
  /** If each job used all of its time. */
  mostCost?: number;
}

function estimateOf(submit: number, lines: readonly ReadLine[], { pricePerSecond, timeout }: BatchFlags): Estimate {
  const times = lines.flatMap(({ file, executionTime }) =>
    file !== undefined && executionTime !== undefined ? [executionTime] : [],
  );
  const priceOf = (milliseconds: number) => (submit * milliseconds * (pricePerSecond ?? 0)) / 1000;
  const estimate: Estimate = {};
  if (times.length > 0) {
    estimate.executionTime = Math.round(times.reduce((sum, time) => sum + time, 0) / times.length);
    estimate.samples = times.length;
    if (pricePerSecond !== undefined) estimate.cost = priceOf(estimate.executionTime);
  }
  if (pricePerSecond !== undefined) estimate.mostCost = priceOf(timeout ?? connectionDefaults.executionTimeout);
  return estimate;
}

function estimateWords(
  submit: number,
  { executionTime, samples = 0, cost, mostCost }: Estimate,
  { pricePerSecond, timeout = connectionDefaults.executionTimeout }: BatchFlags,
): string {
  if (submit === 0) return "cost: nothing, because there is nothing to submit";
  const parts: string[] = [];
  if (executionTime !== undefined) {
    const basis = `the mean of ${count(samples, "image", "images")} in the manifest`;
    if (cost === undefined) parts.push(`unknown: about ${duration(submit * executionTime)} on workers, ${basis}`);
    else parts.push(`about ${dollars(cost)} (${submit} × ${duration(executionTime)}, ${basis})`);
  } else if (pricePerSecond !== undefined) {
    parts.push("unknown: the manifest has no finished image to estimate from");
  } else parts.push("unknown");
  if (mostCost !== undefined) parts.push(`at most ${dollars(mostCost)} (${submit} × ${duration(timeout)}, --timeout)`);
  else parts.push("pass --price-per-second to estimate it");
  return `cost: ${parts.join("; ")}. Cold starts are billed on top.`;
}

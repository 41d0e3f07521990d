import type { StreamPart } from "../protocol/answers.ts";
import { isTerminal } from "../protocol/job.ts";
import { limits } from "../protocol/limits.ts";
import { type Clock, sleep } from "../runtime/clock.ts";
import { pace } from "./wait.ts";

/**
 * Yields the chunks of each read until the job has ended and nothing is left; returns its last status.
 * `readStatus` is asked where a body without chunks does not tell.
 */
export async function* streamJob(
  read: (wait: number) => Promise<StreamPart>,
  readStatus: () => Promise<string>,
  clock: Clock,
  signal?: AbortSignal,
): AsyncGenerator<unknown, string, undefined> {
  for (;;) {
    const asked = clock.now();
    const { status, outputs } = await read(limits.streamWait);
    // Chunks come first: the last ones may arrive together with the end.
    yield* outputs;
    if (outputs.length > 0) continue;
    const current = status ?? (await readStatus());
    if (isTerminal(current)) return current;
    const held = clock.now() - asked;
    if (held < pace.firstPause) await sleep(clock, pace.firstPause - held, signal);
  }
}

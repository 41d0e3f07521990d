import { type Clock, sleep } from "./clock.ts";
import type { StreamPart } from "./protocol/answers.ts";
import { isTerminal } from "./protocol/job.ts";
import { limits } from "./protocol/limits.ts";
import { pace } from "./wait.ts";

/** Yields the chunks of each read until the job has ended and nothing is left; returns its last status. */
export async function* streamJob(
  read: (wait: number) => Promise<StreamPart>,
  clock: Clock,
  signal?: AbortSignal,
): AsyncGenerator<unknown, string, undefined> {
  for (;;) {
    const asked = clock.now();
    const { status, outputs } = await read(limits.streamWait);
    // Chunks come first: the last ones may arrive together with the end.
    yield* outputs;
    if (isTerminal(status) && outputs.length === 0) return status;
    const held = clock.now() - asked;
    if (outputs.length === 0 && held < pace.firstPause) await sleep(clock, pace.firstPause - held, signal);
  }
}

import type { Clock } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import { Problem } from "../problem.ts";

/** The longest time that a store may take to answer, in milliseconds. */
const slowest = 2_000;
/** Seconds after which a caller should try again. */
const tryAgain = "5";

/**
 * Asks a store that counts. Whoever waits for the answer must not wait for ever, because a store may take connections
 * and say nothing.
 *
 * @param undo takes back what the store did, if it did so too late for anybody to use it
 * @throws Problem 503 if the store fails or is late, because then nobody knows who has room
 */
export async function askStore<Answer>(
  clock: Clock,
  ask: () => Promise<Answer>,
  undo?: () => Promise<unknown>,
): Promise<Answer> {
  const onLate = () => {
    throw new Error(`The store that counts did not answer within ${slowest} ms.`);
  };
  let isLate = false;
  const asking = async () => {
    const answer = await ask();
    // Nobody waits for this any more. If it cannot be undone either, its lease ends it.
    if (isLate) undo?.().catch(() => {});
    return answer;
  };
  try {
    return await withTimeLimit(asking, { clock, milliseconds: slowest, onLate });
  } catch (cause) {
    isLate = true;
    const detail = "The server cannot count requests right now. Nothing was submitted. Try again later.";
    throw new Problem({ status: 503, code: "server", detail, cause, headers: { "retry-after": tryAgain } });
  }
}

import { expect, test } from "vitest";
import { decideScaling, returnTime } from "../../../../src/local/pool/scaling.ts";

const now = 10_000;
const rules = { maxWorkers: 3, minWorkers: 0, queueDelay: 0 };
const none = { started: 0, starting: 0, returning: 0 };

/** Jobs that have waited for so long. */
const waiting = (...milliseconds: number[]) => milliseconds.map((waited) => ({ queuedAt: now - waited }));

test.each([
  ["nothing waits", waiting(), none, rules, 0, undefined],
  ["a worker for each job", waiting(5, 5), none, rules, 2, undefined],
  ["at most as many as allowed", waiting(5, 5, 5, 5), none, rules, 3, undefined],
  ["none beyond those that are up", waiting(5, 5), { started: 3, starting: 0, returning: 0 }, rules, 0, undefined],
  [
    "none for the jobs that starting workers take",
    waiting(5, 5),
    { ...none, started: 2, starting: 2 },
    rules,
    0,
    undefined,
  ],
  ["a worker that returns is waited for", waiting(5), { started: 1, starting: 0, returning: 1 }, rules, 0, returnTime],
  ["the least number, without a job", waiting(), none, { ...rules, minWorkers: 2 }, 2, undefined],
  ["the least number takes jobs too", waiting(5, 5, 5), none, { ...rules, minWorkers: 2 }, 3, undefined],
  ["never more than allowed, whatever the least", waiting(), none, { ...rules, minWorkers: 9 }, 3, undefined],
  ["a job must have waited long enough", waiting(500, 499), none, { ...rules, queueDelay: 500 }, 1, 1],
])("%s", (_, jobs, supply, given, starts, again) => {
  expect(decideScaling(jobs, supply, given, now)).toEqual({ starts, again });
});

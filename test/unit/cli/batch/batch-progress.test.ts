import { expect, test } from "vitest";
import { Tally } from "../../../../src/cli/batch/batch-progress.ts";

test("the time left follows from the pace, once there is one, and counts nothing that was there already", () => {
  const tally = new Tally(10);
  tally.skipped = 4;
  expect(tally.left(1000)).toBeUndefined();
  tally.made = 2;
  expect(tally.left(1000)).toBe(2000);
  expect(tally.words()).toBe("6 of 10 · 4 there already");
  expect(tally.cost).toBeUndefined();
  tally.spend(undefined);
  tally.spend(0.00251813);
  tally.spend(0.00251813);
  expect(tally.cost).toBe(0.00503626);
});

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { runMany } from "../../../src/client/generate-many.ts";
import { turns } from "../../helpers/manual-clock.ts";

test("what was fetched is let go while a long task and the loop go on", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const kept: WeakRef<object>[] = [];
  const task = async (input: number): Promise<object> => {
    if (input === 0) return await new Promise(() => {});
    const result = { bytes: new Uint8Array(1000) };
    kept.push(new WeakRef(result));
    return result;
  };
  const loop = runMany(
    Array.from({ length: 50 }, (_, index) => index),
    4,
    new AbortController().signal,
    task,
  );
  for (let fetched = 0; fetched < 49; fetched++) await loop.next();
  await turns();
  collectGarbage();
  // The engine's own last value may live a little longer.
  expect(kept.filter((reference) => reference.deref()).length).toBeLessThanOrEqual(2);
  await loop.return();
});

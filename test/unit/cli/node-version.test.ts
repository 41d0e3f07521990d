import { expect, test } from "vitest";
import { oldNodeProblem } from "../../../src/cli/node-version.ts";

test("an old Node is told which one is needed", () => {
  expect(oldNodeProblem("20.19.0")).toContain("layerdiffuse needs Node 22 or newer; this is 20.19.0");
  expect(oldNodeProblem("22.0.0")).toBeUndefined();
  expect(oldNodeProblem("100.0.0")).toBeUndefined();
});

import { describe, expect, test } from "vitest";
import { fileName, fingerprint } from "../../../../src/cli/batch/file-name.ts";
import type { ReadLine } from "../../../../src/cli/batch/manifest.ts";
import { type PlanInput, planBatch } from "../../../../src/cli/batch/plan.ts";

const now = Date.parse("2026-01-01T12:00:00Z");
const entriesOf = (...prompts: string[]) =>
  prompts.map((prompt, index) => ({ position: index + 1, line: index + 1, input: { prompt } }));

function lineOf(position: number, prompt: string, state: ReadLine["state"], more: Partial<ReadLine> = {}): ReadLine {
  const time = new Date(now - 60_000).toISOString();
  return { position, prompt, key: fingerprint({ prompt }), endpoint: "here", state, time, ...more };
}

const plan = (prompts: string[], lines: ReadLine[], more: Partial<PlanInput> = {}) =>
  planBatch({
    entries: entriesOf(...prompts),
    files: [],
    lines,
    writtenAt: now - 60_000,
    endpoint: "here",
    force: false,
    resubmitUnknown: false,
    now,
    ...more,
  });

/** `prompt` of a task to submit, `prompt: job` of one to take up. */
const tasksOf = (...given: Parameters<typeof plan>) =>
  plan(...given).tasks.map(({ input, job }) => input.prompt + (job ? `: ${job.id}` : ""));

describe("what is left to do", () => {
  test("jobs come first: their results do not wait", () => {
    expect(tasksOf(["a", "b"], [lineOf(2, "b", "submitted", { jobId: "job-b" })])).toEqual(["b: job-b", "a"]);
  });

  test("the last line of a prompt counts", () => {
    const submitted = lineOf(1, "a", "submitted", { jobId: "job-a" });
    for (const state of ["made", "failed", "cancelled", "not_submitted"] as const) {
      expect(tasksOf(["a"], [lineOf(1, "a", "submitting"), submitted, lineOf(1, "a", state)])).toEqual(["a"]);
    }
    expect(tasksOf(["a"], [submitted, lineOf(1, "a", "open", { jobId: "job-a" })])).toEqual(["a: job-a"]);
  });

  test("what is in doubt is left out, unless it is asked for", () => {
    for (const state of ["submitting", "unknown"] as const) {
      const lines = [lineOf(1, "a", state)];
      expect(plan(["a"], lines).doubtful.map(({ file }) => file)).toEqual([fileName(1, { prompt: "a" })]);
      expect(tasksOf(["a"], lines)).toEqual([]);
      expect(tasksOf(["a"], lines, { resubmitUnknown: true })).toEqual(["a"]);
      expect(tasksOf(["b", "a"], lines)).toEqual(["b"]);
      expect(tasksOf(["a"], lines, { endpoint: "elsewhere" })).toEqual([]);
    }
  });

  test("a known job settles a doubt about the same prompt elsewhere", () => {
    const doubt = lineOf(1, "a", "unknown", { endpoint: "elsewhere" });
    expect(tasksOf(["a"], [doubt, lineOf(1, "a", "submitted", { jobId: "job-a" })])).toEqual(["a: job-a"]);
  });

  test("a job that was taken up at another position is not taken up twice", () => {
    const lines = [
      lineOf(1, "a", "submitted", { jobId: "job-a" }),
      lineOf(2, "a", "submitted", { jobId: "job-a" }),
      lineOf(2, "a", "made", { jobId: "job-a", file: fileName(2, { prompt: "a" }) }),
    ];
    const files = [fileName(2, { prompt: "a" })];
    expect(tasksOf(["a", "a", "a"], lines, { files })).toEqual(["a", "a"]);
  });

  test("a job is never given to another prompt, other settings or another endpoint", () => {
    const lines = [lineOf(1, "a", "submitted", { jobId: "job-a" })];
    expect(tasksOf(["b"], lines)).toEqual(["b"]);
    expect(tasksOf(["a"], lines, { endpoint: "elsewhere" })).toEqual(["a"]);
    const entries = [{ position: 1, line: 1, input: { prompt: "a", steps: 5 } }];
    expect(tasksOf([], lines, { entries })).toEqual(["a"]);
    // For a dry run without an endpoint.
    expect(tasksOf(["a"], lines, { endpoint: undefined })).toEqual(["a: job-a"]);
  });

  test("jobs that nobody takes up are named while they may hold an image", () => {
    const lines = [lineOf(1, "a", "submitted", { jobId: "job-a" }), lineOf(2, "b", "unknown")];
    expect(plan(["c"], lines).strays).toEqual([{ jobId: "job-a", prompt: "a", endpoint: "here" }]);
    expect(plan(["c"], lines, { now: now + 3_600_000 }).strays).toEqual([]);
    expect(plan(["a"], lines).strays).toEqual([]);
  });

  test("files count by their content's name, each for one prompt, and other files do not", () => {
    const files = [fileName(7, { prompt: "a" }), "a.png", "manifest.jsonl", "notes.txt"];
    const { there, tasks } = plan(["a", "a", "b"], [], { files });
    expect(there).toBe(1);
    expect(tasks.map(({ input }) => input.prompt)).toEqual(["a", "b"]);
    expect(plan(["a"], [], { files, force: true }).tasks).toHaveLength(1);
  });

  test("a job of an earlier version is in doubt while it may hold an image: its settings are not known", () => {
    const lost: ReadLine = { position: 1, prompt: "a", error: { code: "connection", jobId: "job-a" } };
    expect(plan(["a"], [lost])).toMatchObject({ tasks: [], doubtful: [{ position: 1, jobId: "job-a" }] });
    expect(tasksOf(["a"], [lost], { resubmitUnknown: true })).toEqual(["a"]);
    expect(tasksOf(["a"], [lost], { writtenAt: now - 3_600_000 })).toEqual(["a"]);
    expect(tasksOf(["b"], [lost])).toEqual(["b"]);
    for (const code of ["job_failed", "queue_timeout"]) {
      expect(tasksOf(["a"], [lost, { position: 1, prompt: "a", error: { code, jobId: "job-b" } }])).toEqual(["a"]);
    }
    expect(tasksOf(["a"], [lost, { position: 1, prompt: "a", jobId: "job-b", file: "0001-a.png" }])).toEqual(["a"]);
  });

  test("a long list is no trouble", () => {
    const prompts = Array.from({ length: 20_000 }, (_, index) => `prompt ${index % 500}`);
    const files = prompts.slice(0, 10_000).map((prompt, index) => fileName(index + 1, { prompt }));
    expect(plan(prompts, [], { files }).tasks).toHaveLength(10_000);
  });
});

import { describe, expect, it } from "vitest";
import { bareError, parsePurge, parseStream } from "../../../src/protocol/answers.ts";
import { parseHealth } from "../../../src/protocol/endpoint-health.ts";
import { isTerminal, parseJob } from "../../../src/protocol/job.ts";
import { parseInfo, parseOutput } from "../../../src/protocol/worker-output.ts";

const odd = [undefined, null, 5, "text", true, [], {}];

describe("parseJob", () => {
  it("reads what the service tells", () => {
    const body = {
      id: "j",
      status: "COMPLETED",
      output: { a: 1 },
      delayTime: 1,
      executionTime: 2,
      workerId: "w",
      retries: 1,
    };
    expect(parseJob(body, "raw")).toEqual({ ...body, raw: "raw" });
  });

  it("passes over what it does not know, and what has the wrong type", () => {
    const body = {
      id: "j",
      status: "IN_QUEUE",
      input: {},
      webhook: "x",
      delayTime: "1",
      executionTime: null,
      workerId: 5,
      retries: {},
    };
    expect(parseJob(body, "raw")).toEqual({ id: "j", status: "IN_QUEUE", raw: "raw" });
  });

  it.each([
    ...odd,
    { id: "j" },
    { status: "COMPLETED" },
    { id: "", status: "x" },
    { id: "j", status: "" },
    { id: 5, status: "x" },
  ])("says that %j is no job", (body) => {
    expect(parseJob(body, "")).toBeUndefined();
  });

  it.each([null, 0, false, "", [], {}])("keeps the output %j of a completed job", (output) => {
    expect(parseJob({ id: "j", status: "COMPLETED", output }, "")).toHaveProperty("output", output);
  });

  it("takes the output of a job that runs for progress, and never for a result", () => {
    for (const status of ["IN_PROGRESS", "IN_QUEUE", "RUNNING"]) {
      const state = parseJob({ id: "j", status, output: "Update 1/3" }, "");
      expect(state).toMatchObject({ status, progress: "Update 1/3" });
      expect(state).not.toHaveProperty("output");
    }
  });

  it("takes the output of a failed job for what stood beside its error", () => {
    const state = parseJob({ id: "j", status: "FAILED", error: "boom", output: { code: "oom" } }, "");
    expect(state).toMatchObject({ error: "boom", errorOutput: { code: "oom" } });
    expect(state).not.toHaveProperty("output");
  });

  it("drops a late update of a job that was cancelled or timed out", () => {
    for (const status of ["CANCELLED", "TIMED_OUT"]) {
      expect(parseJob({ id: "j", status, output: "Update 3/3" }, "r")).toEqual({ id: "j", status, raw: "r" });
    }
  });

  it("takes a null error for none, and keeps any other as it came", () => {
    expect(parseJob({ id: "j", status: "FAILED", error: null }, "")).not.toHaveProperty("error");
    for (const error of ["", "boom", { a: 1 }, ["x"], 0])
      expect(parseJob({ id: "j", status: "FAILED", error }, "")).toHaveProperty("error", error);
  });
});

describe("bareError", () => {
  it("is the error of an answer that is neither job nor anything else", () => {
    expect(bareError({ error: "could not queue" })).toBe("could not queue");
    expect(bareError({ error: { message: "x" } })).toEqual({ message: "x" });
    expect(bareError({ id: "j", error: "boom" })).toBeUndefined();
    expect(bareError({ status: "FAILED", error: "boom" })).toBeUndefined();
    for (const body of odd) expect(bareError(body)).toBeUndefined();
  });
});

describe("parseHealth", () => {
  const none = {
    jobs: { completed: 0, failed: 0, inProgress: 0, inQueue: 0, retried: 0 },
    workers: { idle: 0, initializing: 0, ready: 0, running: 0, throttled: 0, unhealthy: 0 },
  };

  it("fills what is missing with zero", () => {
    expect(parseHealth({ workers: {} })).toEqual(none);
    expect(parseHealth({ jobs: { inQueue: 2 }, workers: { idle: 1, running: "3", odd: 5 } })).toEqual({
      jobs: { ...none.jobs, inQueue: 2 },
      workers: { ...none.workers, idle: 1 },
    });
  });

  it("is the reader's own to change", () => {
    const first = parseHealth({ workers: {} });
    if (first) first.jobs.inQueue = 5;
    expect(parseHealth({ workers: {} })).toEqual(none);
  });

  it.each([...odd, { jobs: {} }, { workers: null }])("says that %j is no health", (body) => {
    expect(parseHealth(body)).toBeUndefined();
  });
});

describe("parsePurge", () => {
  it("reads the count, and nothing else for one", () => {
    expect(parsePurge({ removed: 0, status: "completed" })).toEqual({ removed: 0 });
    for (const body of [...odd, { removed: "2" }]) expect(parsePurge(body)).toBeUndefined();
  });
});

describe("parseStream", () => {
  it.each([
    [{ status: "IN_PROGRESS", stream: [{ output: 1 }, { output: null }] }, "IN_PROGRESS", [1, null]],
    [{ status: "COMPLETED", stream: [{ output: { a: 1 } }] }, "COMPLETED", [{ a: 1 }]],
    [{ status: "IN_PROGRESS" }, "IN_PROGRESS", []],
    [{ status: "IN_PROGRESS", stream: null }, "IN_PROGRESS", []],
    [{ status: "FAILED", stream: [] }, "FAILED", []],
    [
      { status: "IN_PROGRESS", stream: ["bare", { other: 1 }, 5, null] },
      "IN_PROGRESS",
      ["bare", { other: 1 }, 5, null],
    ],
    [[{ output: "a" }, { output: "b" }], undefined, ["a", "b"]],
    [[], undefined, []],
  ])("reads %j", (body, status, outputs) => {
    expect(parseStream(body)).toEqual({ status, outputs });
  });

  it.each([undefined, null, 5, "text", {}, { stream: [] }, { status: 5 }])("says that %j is no stream", (body) => {
    expect(parseStream(body)).toBeUndefined();
  });
});

describe("isTerminal", () => {
  it("knows the four ends, and takes all else for going on", () => {
    expect(["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"].every(isTerminal)).toBe(true);
    expect(["IN_QUEUE", "IN_PROGRESS", "RUNNING", "completed", "", "toString"].some(isTerminal)).toBe(false);
  });
});

describe("parseOutput", () => {
  it("counts what has the wrong type as absent", () => {
    expect(
      parseOutput({ status: 5, url: null, image_base64: {}, filename: ["a"], seed: "7", info: 5, more: 1 }),
    ).toEqual({ info: 5 });
    for (const output of [undefined, null, "text", 5, true, []]) expect(parseOutput(output)).toEqual({});
  });
});

describe("parseInfo", () => {
  it.each([
    ['{"seed":7}', { seed: 7 }],
    [{ seed: 7 }, { seed: 7 }],
    ["Steps: 20, Seed: 7", { text: "Steps: 20, Seed: 7" }],
    ["", { text: "" }],
    ["7", { text: "7" }],
    ['["a"]', { text: '["a"]' }],
    ['"quoted"', { text: '"quoted"' }],
    ["null", { text: "null" }],
    [undefined, {}],
    [null, {}],
    [5, {}],
  ])("of %j is %j", (info, expected) => {
    expect(parseInfo(info)).toEqual(expected);
  });
});

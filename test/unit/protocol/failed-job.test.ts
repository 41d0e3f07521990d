import { describe, expect, it } from "vitest";
import { JobCancelledError, JobFailedError, JobTimedOutError } from "../../../src/errors/index.ts";
import { jobError, parseFailure } from "../../../src/protocol/failed-job.ts";
import { parseJob } from "../../../src/protocol/job.ts";
import { expectClass } from "../../helpers/failures.ts";

const exception = JSON.stringify({
  error_type: "<class 'ValueError'>",
  error_message: "no such sampler",
  error_traceback: 'Traceback (most recent call last):\n  File "handler.py", line 3',
  hostname: "host",
  worker_id: "w-1",
  runpod_version: "1.12.0",
});

/** The error of a job whose body is so. */
function errorOf(fields: Record<string, unknown>) {
  const state = parseJob({ id: "job-1", status: "FAILED", ...fields }, "");
  if (!state) throw new Error("It is no job.");
  return jobError(state);
}

describe("jobError", () => {
  it.each(["COMPLETED", "IN_QUEUE", "IN_PROGRESS", "RUNNING"])("is none for %s", (status) => {
    expect(errorOf({ status })).toBeUndefined();
  });

  it("ends a worker's own sentence once", () => {
    const error = expectClass(errorOf({ error: "The prompt is too long." }), JobFailedError);
    expect(error.message).toBe("Job job-1 failed: The prompt is too long.");
    expect(error.failure?.message).toBe("The prompt is too long.");
  });

  it("of an exception tells its message, type and traceback", () => {
    const error = expectClass(
      errorOf({ error: exception, delayTime: 1, executionTime: 2, workerId: "w-1" }),
      JobFailedError,
    );
    expect(error.message).toBe("Job job-1 failed: no such sampler.");
    expect(error).toMatchObject({ jobId: "job-1", retryable: false, delayTime: 1, executionTime: 2, workerId: "w-1" });
    expect(error.failure).toEqual({
      message: "no such sampler",
      type: "ValueError",
      traceback: 'Traceback (most recent call last):\n  File "handler.py", line 3',
      workerId: "w-1",
      raw: exception,
    });
  });

  it("of an error beside an output keeps both, with code and field", () => {
    const error = expectClass(
      errorOf({ error: "too large", output: { code: "invalid", field: "width", x: 1 } }),
      JobFailedError,
    );
    expect(error.output).toEqual({ code: "invalid", field: "width", x: 1 });
    expect(error.failure).toEqual({ message: "too large", code: "invalid", field: "width", raw: "too large" });
  });

  it.each([undefined, null, ""])("without an error (%j) says where to look", (said) => {
    const error = expectClass(errorOf({ error: said }), JobFailedError);
    expect(error.message).toContain("without saying why");
  });

  it("of a lost worker may be tried again", () => {
    const error = expectClass(errorOf({ error: "job timed out after 1 retries", retries: 1 }), JobFailedError);
    expect(error.retryable).toBe(true);
  });

  it.each([
    { error: "executionTimeout exceeded" },
    { error: "executionTimeout exceeded (600000 ms)" },
    { error: { message: "ExecutionTimeout exceeded" } },
    { status: "TIMED_OUT" },
    { status: "TIMED_OUT", error: "job exceeded its time" },
  ])("of %j is one and the same time-out", (fields) => {
    const error = expectClass(errorOf(fields), JobTimedOutError);
    expect(error).toMatchObject({ code: "job_timed_out", jobId: "job-1", retryable: true });
    expect(error.message).toContain("executionTimeout");
  });

  it("of a job that only mentions the time-out is a failure", () => {
    expectClass(errorOf({ error: "policy.executionTimeout exceeded the limit" }), JobFailedError);
  });

  it("of a cancelled job is JobCancelledError, with or without times", () => {
    expect(expectClass(errorOf({ status: "CANCELLED" }), JobCancelledError).jobId).toBe("job-1");
    expect(expectClass(errorOf({ status: "CANCELLED", delayTime: 5 }), JobCancelledError).delayTime).toBe(5);
  });
});

describe("parseFailure", () => {
  it.each([
    ["plain text", "plain text"],
    [{ message: "m" }, "m"],
    [{ error: "e" }, "e"],
    [{ detail: "d" }, "d"],
    [{ error: { message: "nested" } }, "nested"],
    [{ error: { error_message: "deep", error_type: "X" } }, "deep"],
    ['{"message":"as text"}', "as text"],
    ['"quoted"', '"quoted"'],
    ["5", "5"],
    [5, "5"],
    ["null", "null"],
    ["[1]", "[1]"],
    [["a", "b"], '["a","b"]'],
    [{ other: 1 }, '{"other":1}'],
    [{ message: "", detail: "second" }, "second"],
    [{ message: 5, error: "text wins" }, "text wins"],
  ])("of %j says %j", (raw, message) => {
    expect(parseFailure(raw)).toMatchObject({ message, raw });
  });

  it("of an exception without words says its type", () => {
    const raw = JSON.stringify({
      error_type: "<class 'AssertionError'>",
      error_message: "",
      error_traceback: "Traceback …",
    });
    expect(parseFailure(raw)).toMatchObject({ message: "AssertionError", type: "AssertionError" });
  });

  it("reads type, traceback, code and field wherever they stand", () => {
    const own = { message: "m", type: "T", traceback: "t", code: "c", field: "f" };
    expect(parseFailure(own)).toEqual({ ...own, raw: own });
    expect(parseFailure({ error: own })).toMatchObject({ ...own, raw: { error: own } });
    expect(parseFailure({ message: "m", code: "own" }, { code: "beside", field: "f" })).toMatchObject({
      code: "own",
      field: "f",
    });
  });

  it("takes nothing but code and field from beside the error", () => {
    expect(parseFailure("boom", { message: "not me", type: "T" })).toEqual({ message: "boom", raw: "boom" });
    for (const output of [null, undefined, "text", 5])
      expect(parseFailure("boom", output)).toEqual({ message: "boom", raw: "boom" });
  });
});

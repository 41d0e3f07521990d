import { inspect } from "node:util";
import { describe, expect, it, vi } from "vitest";
import * as errors from "../../../src/errors/index.ts";
import {
  type ErrorByCode,
  type ErrorCode,
  InvalidInputError,
  isLayerDiffuseError,
  JobError,
  JobFailedError,
  LayerDiffuseError,
} from "../../../src/errors/index.ts";
import * as index from "../../../src/index.ts";

const message = "It did not work.";

/** One of each; the type says that none is missing and none in the wrong place. */
const samples: { [Code in ErrorCode]: () => ErrorByCode[Code] } = {
  configuration: () => new errors.ConfigurationError(message),
  invalid_input: () => new errors.InvalidInputError([{ path: ["prompt"], message: "is required" }]),
  authentication: () => new errors.AuthenticationError(message),
  bad_request: () => new errors.BadRequestError(message),
  endpoint_not_found: () => new errors.EndpointNotFoundError(message),
  rate_limited: () => new errors.RateLimitError(message, { retryAfter: 1_000 }),
  server: () => new errors.ServerError(message),
  connection: () => new errors.ConnectionError(message, { arrived: "no" }),
  submission_unknown: () => new errors.SubmissionUnknownError(message),
  job_failed: () => new errors.JobFailedError(message, { failure: { message: "boom", raw: "boom" } }),
  job_cancelled: () => new errors.JobCancelledError(message, {}),
  job_timed_out: () => new errors.JobTimedOutError(message, {}),
  job_expired: () => new errors.JobExpiredError(message, { lastStatus: "IN_QUEUE" }),
  generation_failed: () => new errors.GenerationError(message, {}),
  queue_timeout: () => new errors.QueueTimeoutError(message, { reason: "throttled" }),
  execution_timeout: () => new errors.ExecutionTimeoutError(message),
  invalid_response: () => new errors.InvalidResponseError(message, { excerpt: "<html>" }),
  invalid_image: () => new errors.InvalidImageError(message),
  file: () => new errors.FileError(message),
};

const all = Object.entries(samples) as [ErrorCode, () => LayerDiffuseError][];
const classes = Object.entries(errors).filter(
  ([, value]) => typeof value === "function" && value.prototype instanceof LayerDiffuseError && value !== JobError,
);

describe("every error class", () => {
  it("has a code of its own", () => {
    expect(all.map(([, make]) => make().name).sort()).toEqual(classes.map(([name]) => name).sort());
    expect(new Set(all.map(([, make]) => make().code)).size).toBe(classes.length);
  });

  it("is exported by the package, under its own name", () => {
    for (const [name, errorClass] of classes) expect(index).toHaveProperty(name, errorClass);
    expect(index).toMatchObject({ LayerDiffuseError, JobError, isLayerDiffuseError });
  });

  it.each(all)("%s says its name and code", (code, make) => {
    const error = make();
    expect(error).toBeInstanceOf(LayerDiffuseError);
    expect(error).toBeInstanceOf(Error);
    expect(error.code).toBe(code);
    expect(error.name).toBe(error.constructor.name);
    expect(String(error)).toBe(`${error.name}: ${error.message}`);
    expect(error.stack?.startsWith(`${error.name}: ${error.message}\n`)).toBe(true);
    expect(inspect(error).startsWith(`${error.name}: ${error.message}`)).toBe(true);
    expect(typeof error.retryable).toBe("boolean");
  });

  it.each(all)("%s as JSON begins with name, code and message", (code, make) => {
    const error = make();
    const plain = JSON.parse(JSON.stringify(error));
    expect(Object.keys(plain).slice(0, 3)).toEqual(["name", "code", "message"]);
    expect(plain).toMatchObject({ name: error.name, code, message: error.message, retryable: error.retryable });
    expect(plain).not.toHaveProperty("stack");
    expect(plain).not.toHaveProperty("cause");
  });

  it.each(all)("%s has no field that is not known", (_code, make) => {
    for (const name of ["jobId", "status", "cause"]) expect(make()).not.toHaveProperty(name);
  });
});

describe("LayerDiffuseError", () => {
  it("keeps job, status and cause", () => {
    const cause = new TypeError("fetch failed");
    const error = new errors.ServerError(message, { jobId: "job-1", status: 502, retryable: true, cause });
    expect(error).toMatchObject({ jobId: "job-1", status: 502, retryable: true, cause });
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: "ServerError",
      code: "server",
      message,
      retryable: true,
      jobId: "job-1",
      status: 502,
    });
    expect(Object.keys(error)).not.toContain("cause");
  });

  it("is retryable where the same call may succeed, and never after a submission whose fate is unknown", () => {
    const retryable = all.filter(([, make]) => make().retryable).map(([code]) => code);
    expect(retryable).toEqual(["rate_limited", "connection", "queue_timeout"]);
    expect(new errors.ConnectionError(message, { arrived: "no", retryable: false }).retryable).toBe(false);
  });

  it("keeps what a job took and what its worker said", () => {
    const failure = { message: "boom", type: "ValueError", raw: "boom" };
    const error = new JobFailedError(message, {
      failure,
      output: { x: 1 },
      delayTime: 1,
      executionTime: 2,
      workerId: "w",
    });
    expect(error).toBeInstanceOf(JobError);
    expect(error).toMatchObject({ failure, output: { x: 1 }, delayTime: 1, executionTime: 2, workerId: "w" });
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ failure, output: { x: 1 }, workerId: "w" });
  });

  it("keeps an output that is null or false", () => {
    expect(new JobFailedError(message, { output: null }).output).toBeNull();
    expect(new JobFailedError(message, { output: false }).output).toBe(false);
  });
});

describe("InvalidInputError", () => {
  it("lists every issue with its place", () => {
    const issues = [
      { path: [], message: "must be an object" },
      { path: ["loras", 0, "name"], message: "is required" },
    ];
    const error = new InvalidInputError(issues);
    expect(error.issues).toEqual(issues);
    expect(error.message).toBe("Invalid input. must be an object; loras.0.name: is required. Nothing was sent.");
  });
});

describe("isLayerDiffuseError", () => {
  it("knows the errors of another copy of the package", async () => {
    vi.resetModules();
    const copy = await import("../../../src/errors/index.ts");
    expect(copy.ServerError).not.toBe(errors.ServerError);
    const foreign = new copy.ServerError(message);
    expect(foreign).not.toBeInstanceOf(LayerDiffuseError);
    expect(isLayerDiffuseError(foreign)).toBe(true);
    expect(isLayerDiffuseError(foreign, "server")).toBe(true);
    expect(isLayerDiffuseError(foreign, "connection")).toBe(false);
    expect(copy.isLayerDiffuseError(samples.server(), "server")).toBe(true);
  });

  it.each([undefined, null, "server", 5, {}, [], new Error("no"), { code: "server", name: "ServerError" }, () => {}])(
    "says no to %s",
    (value) => {
      expect(isLayerDiffuseError(value)).toBe(false);
      expect(isLayerDiffuseError(value, "server")).toBe(false);
    },
  );
});

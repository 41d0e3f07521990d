import { describe, expect, test } from "vitest";
import { JobFailedError } from "../../src/index.ts";
import { picture, rejection, stage } from "../helpers/local.ts";

const apple = "a red apple";

/** Runs one job whose status reads are changed by `edit`. */
async function edited(edit: (body: Record<string, unknown>) => unknown) {
  const set = await stage({
    faults: [
      {
        operation: ["status", "status-sync"],
        times: Number.POSITIVE_INFINITY,
        edit: (body) => edit(body as Record<string, unknown>),
      },
    ],
  });
  const { id } = await set.drive(set.runpod().run({ prompt: apple }));
  return { ...set, id };
}

describe("cancelling", () => {
  test.each(["unchanged", "error"] as const)(
    "works in the queue and while running, and leaves a finished job as it is (%s)",
    async (cancelFinished) => {
      const { client, drive, endpoint, pass } = await stage({
        maxWorkers: 1,
        variants: { cancelFinished },
        worker: (job) => (job.input["prompt"] === "slow" ? new Promise(() => {}) : picture),
      });
      const done = await drive(client().submit(apple));
      await drive(done.result());
      const running = await drive(client().submit("slow"));
      await pass(1_000);
      const queued = await drive(client().submit("slow"));
      expect(await drive(queued.cancel())).toMatchObject({ status: "CANCELLED" });
      expect(await drive(running.cancel())).toMatchObject({ status: "CANCELLED" });
      expect(await drive(running.cancel())).toMatchObject({ status: "CANCELLED" });
      expect(await drive(done.cancel())).toMatchObject({ status: "COMPLETED" });
      expect(await rejection(drive(running.result()))).toMatchObject({ code: "job_cancelled" });
      expect(endpoint.jobs().map(({ status }) => status)).toEqual(["COMPLETED", "CANCELLED", "CANCELLED"]);
    },
  );

  test("a result that arrives after the cancel changes nothing", async () => {
    const { client, drive, pass, clock } = await stage({
      // A worker without a stop channel goes on and reports late.
      worker: async () => {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 10_000));
        return picture;
      },
    });
    const job = await drive(client().submit(apple));
    await pass(1_000);
    await drive(job.cancel());
    await pass(30_000);
    expect(await drive(job.status())).toMatchObject({ status: "CANCELLED" });
    expect(await drive(job.status())).not.toHaveProperty("output");
  });
});

describe("retrying a job", () => {
  test("that failed puts it back in the queue under its id, the old end forgotten", async () => {
    let runs = 0;
    const { client, drive } = await stage({
      coldStart: 10_000,
      idleTimeout: 1,
      worker: () => (runs++ === 0 ? { error: "bad luck", seen: 1 } : picture),
    });
    const job = await drive(client().submit(apple));
    expect(await rejection(drive(job.result()))).toMatchObject({ code: "job_failed" });
    expect(await drive(job.retry())).toMatchObject({ id: job.id, status: "IN_QUEUE" });
    expect((await drive(job.result())).width).toBe(8);
  });

  test("that completed is refused with a BadRequestError", async () => {
    const { client, drive } = await stage();
    const job = await drive(client().submit(apple));
    await drive(job.result());
    expect(await rejection(drive(job.retry()))).toMatchObject({ code: "bad_request", status: 400 });
  });
});

test.each([
  ["CANCELLED", "job_cancelled"],
  ["gone", "job_expired"],
] as const)("a purge while waiting ends the wait (jobs are then %s)", async (purged, code) => {
  const { client, drive, pass } = await stage({ throttled: true, variants: { purged } });
  const rejected = rejection(client().generate(apple));
  await pass(10_000);
  expect(await drive(client().purgeQueue())).toEqual({ removed: 1 });
  expect(await drive(rejected)).toMatchObject({ code });
});

describe("an output", () => {
  test("that is absent is undefined and a success; for an image it is an InvalidImageError that says why", async () => {
    const { runpod, client, drive } = await stage({ worker: () => ({}) });
    const { id } = await drive(runpod().run({ prompt: apple }));
    const state = await drive(runpod().wait(id));
    expect(state).toMatchObject({ status: "COMPLETED" });
    expect("output" in state).toBe(false);
    expect(await rejection(drive(client().generate(apple)))).toMatchObject({
      code: "invalid_image",
      message: expect.stringContaining("size limit"),
    });
  });

  test.each([null, 0, false, "", []])("of %j is kept as it is", async (output) => {
    const { runpod, drive } = await stage({ worker: () => output });
    const { id } = await drive(runpod().run({ prompt: apple }));
    expect((await drive(runpod().wait(id))).output).toEqual(output);
  });

  test("of a job that still runs is progress, not a result", async () => {
    const updates: unknown[] = [];
    const { client, drive, clock } = await stage({
      worker: async (_, { progress }) => {
        progress("Update 1/3");
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 3_000));
        progress(picture);
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 3_000));
        return { ...picture, filename: "real.png" };
      },
    });
    const image = await drive(client().generate(apple, { onProgress: ({ update }) => void updates.push(update) }));
    expect(image.filename).toBe("real.png");
    expect(updates).toContain("Update 1/3");
  });

  test("with NaN in it is a parse error that names the cause, asked for once", async () => {
    const { client, drive, calls } = await stage({ worker: () => ({ ...picture, loss: Number.NaN }) });
    const error = await rejection(drive(client().generate(apple)));
    expect(error).toMatchObject({ code: "invalid_response", message: expect.stringContaining("NaN") });
    expect(calls()).toEqual(["POST run", "GET status-sync"]);
  });

  test("with integers beyond 2⁵³ keeps their digits in raw", async () => {
    const { runpod, drive, id } = await edited((body) =>
      JSON.stringify({ ...body, output: { seed: "SEED" } }).replace('"SEED"', "12345678901234567890"),
    );
    expect((await drive(runpod().wait(id))).raw).toContain("12345678901234567890");
  });

  test("that says status error, though the job completed, is a GenerationError", async () => {
    const { client, drive, id } = await edited((body) => ({
      ...body,
      output: { status: "error", message: "no GPU memory", code: "gpu_out_of_memory" },
    }));
    expect(await rejection(drive(client().job(id).result()))).toMatchObject({
      code: "generation_failed",
      failure: { code: "gpu_out_of_memory", message: "no GPU memory" },
    });
  });
});

describe("an error", () => {
  test("that is JSON text of an exception is parsed into type, message and traceback", async () => {
    const { client, drive } = await stage({
      worker: () => {
        throw new RangeError("steps out of range");
      },
    });
    const error = await rejection(drive(client().generate(apple)));
    expect(error).toBeInstanceOf(JobFailedError);
    expect(error).toMatchObject({
      message: expect.stringContaining("steps out of range"),
      failure: { type: "RangeError", message: "steps out of range", traceback: expect.stringContaining("RangeError") },
    });
  });

  test("that is plain text is read, and output beside it preserved", async () => {
    const { client, drive } = await stage({
      worker: () => ({ error: "width must be a multiple of 64", code: "bad_size", field: "width", status: "error" }),
    });
    expect(await rejection(drive(client().generate(apple)))).toMatchObject({
      code: "job_failed",
      failure: { message: "width must be a multiple of 64", code: "bad_size", field: "width" },
      output: { status: "error", code: "bad_size", field: "width" },
    });
  });

  test.each([
    [{ message: "m" }, "m"],
    [{ error: { message: "m", code: "c" } }, "m"],
    [{ detail: "m" }, "m"],
  ])("that is an object (%j) is read", async (given, message) => {
    const { client, drive, id } = await edited((body) => ({
      ...body,
      status: "FAILED",
      error: given,
      output: undefined,
    }));
    expect(await rejection(drive(client().job(id).result()))).toMatchObject({ failure: { message, raw: given } });
  });

  test("that is missing still makes a JobFailedError", async () => {
    const { client, drive, id } = await edited(({ id: jobId }) => ({ id: jobId, status: "FAILED" }));
    expect(await rejection(drive(client().job(id).result()))).toMatchObject({ code: "job_failed", jobId: id });
  });
});

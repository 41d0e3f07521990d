import { describe, expect, test } from "vitest";
import { type Variants, variantValues } from "../../src/local/variants.ts";
import { picture, rejection, stage } from "../helpers/local.ts";

/** Every variant of the unsettled facts, one at a time. */
const variants: Partial<Variants>[] = Object.entries(variantValues).flatMap(([name, values]) =>
  values.map((value) => ({ [name]: value })),
);

describe("whichever way an unsettled fact of the service turns out", () => {
  test.each(variants)(
    "an image arrives, a job can be cancelled and the endpoint asked for its health (%j)",
    async (variant) => {
      const { client, drive, endpoint } = await stage({
        variants: variant,
        coldStart: 100_000,
        faults: [{ operation: "run", respond: { status: 429, body: "" } }],
      });
      expect((await drive(client().generate("a red apple"))).width).toBe(8);
      const job = await drive(client().submit("a red apple"));
      expect(await drive(job.cancel())).toMatchObject({ status: expect.stringMatching(/CANCELLED|COMPLETED/) });
      expect(await drive(client().health())).toMatchObject({ workers: { idle: expect.any(Number) } });
      expect(endpoint.jobs()).toHaveLength(2);
    },
  );

  test.each([
    ["gone", "job_expired"],
    ["TIMED_OUT", "job_timed_out"],
  ] as const)("a job whose time to live passes (%s) ends the wait with %s", async (ttlExpiry, code) => {
    const { client, drive } = await stage({ variants: { ttlExpiry }, throttled: true });
    expect(await rejection(drive(client().generate("a red apple", { policy: { ttl: 30_000 } })))).toMatchObject({
      code,
    });
  });

  test("an error that is an object fails the job with its words, or leaves it completed without an image", async () => {
    const worker = () => ({ error: { message: "no GPU memory" } });
    const failing = await stage({ variants: { objectError: "FAILED" }, worker });
    expect(await rejection(failing.drive(failing.client().generate("a red apple")))).toMatchObject({
      code: "job_failed",
      failure: { message: "no GPU memory" },
    });
    const completing = await stage({ variants: { objectError: "COMPLETED" }, worker });
    expect(await rejection(completing.drive(completing.client().generate("a red apple")))).toMatchObject({
      code: "invalid_image",
      message: expect.stringContaining("no output"),
    });
  });

  test("a webhook that the service refuses is a BadRequestError", async () => {
    const { client, drive } = await stage({ variants: { loopbackWebhook: "refused" } });
    const submitting = client().submit("a red apple", { webhook: "http://127.0.0.1:1/hook" });
    expect(await rejection(drive(submitting))).toMatchObject({ code: "bad_request", status: 400 });
  });

  test("a request that the edge cuts after 100 s leaves a submission unknown, and a read is repeated", async () => {
    const { runpod, drive } = await stage({ variants: { edgeCut: true }, coldStart: 250_000, worker: () => picture });
    const held = runpod().runSync({ prompt: "a red apple" }, { wait: 300_000 });
    expect(await rejection(drive(held))).toMatchObject({ code: "submission_unknown", status: 524 });
    const { id } = await drive(runpod().run({ prompt: "a red apple" }));
    expect(await drive(runpod().statusSync(id, { wait: 300_000 }))).toMatchObject({ status: "COMPLETED" });
  });
});

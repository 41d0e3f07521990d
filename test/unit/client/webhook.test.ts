import { describe, expect, it } from "vitest";
import { type ParseWebhookOptions, parseWebhook } from "../../../src/client/webhook.ts";
import {
  AuthenticationError,
  ConfigurationError,
  GenerationError,
  InvalidImageError,
  InvalidResponseError,
  JobCancelledError,
  JobFailedError,
} from "../../../src/errors/index.ts";
import { expectClass, rejectionOf } from "../../helpers/failures.ts";
import { makePng } from "../../helpers/png.ts";

const secret = "s3cret &+ü";
const png = makePng({ width: 3 });
const done = {
  id: "job-1",
  status: "COMPLETED",
  output: { image_base64: png.toString("base64"), seed: 5 },
  executionTime: 9,
};

/** The service's call, to an address with these parameters. */
function call(body: unknown, parameters: Record<string, string> = { secret }): Request {
  const address = `https://example.com/hook?${new URLSearchParams(parameters)}`;
  return new Request(address, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
}

describe("parseWebhook", () => {
  it("gives the image of a completed job", async () => {
    const event = await parseWebhook(call(done), { secret });
    expect(event).toMatchObject({
      id: "job-1",
      state: { status: "COMPLETED", executionTime: 9 },
      image: { width: 3, seed: 5 },
    });
    expect(event.error).toBeUndefined();
    expect(event.image && png.equals(event.image.bytes)).toBe(true);
  });

  it("gives the same for the same call again", async () => {
    const [first, second] = [await parseWebhook(call(done), { secret }), await parseWebhook(call(done), { secret })];
    expect(second).toEqual(first);
  });

  it("passes over an echoed input and all it does not know", async () => {
    const echo = { ...done, input: { prompt: "a red apple" }, webhook: "https://example.com/hook", extra: [1] };
    expect((await parseWebhook(call(echo), { secret })).image?.width).toBe(3);
  });

  it.each([
    [{ status: "FAILED", error: "boom" }, JobFailedError],
    [{ status: "CANCELLED" }, JobCancelledError],
    [{ status: "COMPLETED", output: { status: "error", message: "no" } }, GenerationError],
    [{ status: "COMPLETED", output: { image_base64: "AAAA" } }, InvalidImageError],
    [{ status: "COMPLETED", output: { image_base64: "A" } }, InvalidImageError],
    [{ status: "COMPLETED" }, InvalidImageError],
  ])("gives the error of %j", async (fields, errorClass) => {
    const event = await parseWebhook(call({ id: "job-1", ...fields }), { secret });
    expect(expectClass(event.error, errorClass).jobId).toBe("job-1");
    expect(event.image).toBeUndefined();
    expect(event.state.status).toBe(fields.status);
  });

  it.each([
    ["none", {}],
    ["an empty one", { secret: "" }],
    ["a wrong one", { secret: "S3cret &+ü" }],
    ["the start of it", { secret: secret.slice(0, -1) }],
    ["more than it", { secret: `${secret}x` }],
    ["one under another name", { token: secret }],
  ])("refuses a call with %s for a secret, before it reads the body", async (_what, parameters) => {
    const request = call(done, parameters as Record<string, string>);
    expectClass(await rejectionOf(parseWebhook(request, { secret })), AuthenticationError);
    expect(request.bodyUsed).toBe(false);
  });

  it("never says the secret", async () => {
    const error = await rejectionOf(parseWebhook(call("[]"), { secret }));
    expect(JSON.stringify(error)).not.toContain("s3cret");
  });

  it.each(["", undefined, null])("refuses to work with the secret %j", async (empty) => {
    for (const parameters of [{}, { secret: "" }, { secret }]) {
      const options = { secret: empty } as unknown as ParseWebhookOptions;
      expectClass(
        await rejectionOf(parseWebhook(call(done, parameters as Record<string, string>), options)),
        ConfigurationError,
      );
    }
  });

  it.each([
    "",
    "no JSON",
    '{"id":"job-1","stat',
    "[]",
    "null",
    "5",
    '{"id":"job-1"}',
    '{"status":"COMPLETED"}',
    '{"id":5,"status":"COMPLETED"}',
  ])("refuses the body %j", async (body) => {
    const error = expectClass(await rejectionOf(parseWebhook(call(body), { secret })), InvalidResponseError);
    expect(error.excerpt).toBe(body || undefined);
  });
});

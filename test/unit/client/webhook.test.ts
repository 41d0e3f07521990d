import { HttpResponse, http } from "msw";
import { afterEach, describe, expect, it, vi } from "vitest";
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
import { mockService } from "../../helpers/mock-service.ts";
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

afterEach(() => {
  vi.restoreAllMocks();
});

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

  it("keeps what a worker says that completed with an error alone", async () => {
    const { error } = await parseWebhook(call({ ...done, output: { error: "boom" } }), { secret });
    expect(error).toMatchObject({ code: "generation_failed", failure: { message: "boom" } });
  });

  it.each([
    ["nothing", undefined],
    ["null", null],
    ["an Express request", { url: `/hook?secret=${secret}`, headers: {}, body: done, on: () => {} }],
    ["a request with half an address", { url: "/hook", text: async () => "{}" }],
    ["a body", done],
    ["a text", JSON.stringify(done)],
  ])("says of %s, which is no Request, what it needs", async (_what, request) => {
    const error = expectClass(
      await rejectionOf(parseWebhook(request as unknown as Request, { secret })),
      ConfigurationError,
    );
    expect(error.message).toContain("parseWebhook needs a Request");
  });

  it("says that the body was read already, in part too", async () => {
    const used = call(done);
    await used.text();
    const held = call(done);
    held.body?.getReader();
    for (const request of [used, held]) {
      const error = expectClass(await rejectionOf(parseWebhook(request, { secret })), ConfigurationError);
      expect(error.message).toContain("already read");
    }
  });

  it("says that the body was cut off on its way", async () => {
    const cut = new ReadableStream({ start: (controller) => controller.error(new Error("reset")) });
    const init = { method: "POST", body: cut, duplex: "half" };
    const request = new Request(`https://example.com/hook?${new URLSearchParams({ secret })}`, init as RequestInit);
    expect(expectClass(await rejectionOf(parseWebhook(request, { secret })), InvalidResponseError)).toMatchObject({
      cause: { message: "reset" },
    });
  });

  it("takes another library's request", async () => {
    const { url } = call(done);
    const other = { url, text: async () => JSON.stringify(done) };
    expect((await parseWebhook(other as unknown as Request, { secret })).image?.width).toBe(3);
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

describe("a webhook whose worker answered with a link", () => {
  const service = mockService();
  const link = "https://bucket.test/apple.png?signature=1";
  const linked = { id: "job-1", status: "COMPLETED", output: { url: link } };
  const file = () => new HttpResponse(new Uint8Array(png));

  it("fetches the image, without the secret", async () => {
    const seen: string[] = [];
    service.use(
      http.get("https://bucket.test/apple.png", ({ request }) => {
        seen.push(request.url, ...[...request.headers].flat());
        return file();
      }),
    );
    expect((await parseWebhook(call(linked), { secret })).image?.width).toBe(3);
    expect(seen[0]).toBe(link);
    expect(seen.join()).not.toContain("s3cret");
  });

  it("fetches it by the caller's fetch where there is one", async () => {
    const fetch = vi.fn(async () => file());
    expect((await parseWebhook(call(linked), { secret, fetch })).image?.width).toBe(3);
    expect(fetch).toHaveBeenCalledTimes(1);
    const wrong = rejectionOf(parseWebhook(call(linked), { secret, fetch: "fetch" as unknown as typeof fetch }));
    expectClass(await wrong, ConfigurationError);
  });

  it("tries again twice, and gives the error of the last", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    let asked = 0;
    service.use(
      http.get("https://bucket.test/*", () => {
        asked++;
        return new HttpResponse(null, { status: 503 });
      }),
    );
    const event = await parseWebhook(call(linked), { secret });
    expect(event.error).toMatchObject({ code: "server", status: 503 });
    expect(asked).toBe(3);
  });

  it("gives the error of a link that has expired, at once", async () => {
    service.use(http.get("https://bucket.test/*", () => new HttpResponse(null, { status: 403 })));
    const event = await parseWebhook(call(linked), { secret });
    expect(event.error).toMatchObject({ code: "invalid_image", status: 403, jobId: "job-1" });
  });
});

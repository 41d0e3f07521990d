import { randomBytes } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { ConnectionError, GenerationError, InvalidImageError } from "../../../src/errors/index.ts";
import { type Download, decodeImage, type ImageContext } from "../../../src/image/decode-image.ts";
import type { JobState } from "../../../src/protocol/job.ts";
import { expectClass, rejectionOf } from "../../helpers/failures.ts";
import { chunk, makePng } from "../../helpers/png.ts";
import { withGlobals } from "../../helpers/runtimes.ts";

const png = makePng({ width: 3, height: 5 });
const base64 = png.toString("base64");
const url = `data:image/png;base64,${base64}`;

function completed(output?: unknown, more: Partial<JobState> = {}): JobState {
  return { id: "job-1", status: "COMPLETED", raw: "", ...(output === undefined ? {} : { output }), ...more };
}

/** For outputs that hold their image. */
const never: Download = () => Promise.reject(new Error("Nothing is to be downloaded."));

const decode = (output: unknown, context: ImageContext = {}) => decodeImage(completed(output), context, never);
const refusal = async (output?: unknown) =>
  expectClass(await rejectionOf(decodeImage(completed(output), {}, never)), InvalidImageError);

describe("decodeImage", () => {
  it.each([
    [
      "the published image's, which holds it twice",
      { status: "success", url, image_base64: base64, filename: "alpha_1.png" },
    ],
    ["base64 alone", { image_base64: base64 }],
    ["a data URL alone", { url }],
    ["base64 beside a link", { image_base64: base64, url: "https://example.com/a.png" }],
    ["a data URL beside empty base64", { image_base64: "", url }],
    ["base64 with line breaks", { image_base64: base64.replace(/.{76}/g, "$&\n") }],
    ["base64 without padding, in the URL alphabet", { image_base64: png.toString("base64url") }],
    [
      "base64 with bytes after the image's end",
      { image_base64: `${Buffer.concat([png, Buffer.alloc(9)]).toString("base64")}` },
    ],
    ["a data URL in capitals, with parameters", { url: `DATA:image/png;name=a.png;BASE64,${base64}` }],
    [
      "a data URL after white space, percent-encoded",
      { url: `\n data:image/png;base64,${encodeURIComponent(base64)}\n` },
    ],
    ["a data URL for base64", { image_base64: url }],
    ["a whole data URL beside damaged base64", { image_base64: base64.slice(0, -20), url }],
    ["base64 beside odd fields", { image_base64: base64, status: 5, filename: 7, url: {}, info: [], seed: "x" }],
  ])("reads %s", async (_what, output) => {
    const image = await decode(output);
    expect(png.equals(image.bytes), "the same bytes").toBe(true);
    expect(Buffer.isBuffer(image.bytes)).toBe(true);
    expect(image).toMatchObject({ type: "image/png", width: 3, height: 5, hasAlpha: true });
  });

  it("tells what the job took", async () => {
    const state = completed({ url }, { delayTime: 40_000, executionTime: 2_500, workerId: "w-1" });
    expect((await decodeImage(state, {}, never)).job).toEqual({
      id: "job-1",
      delayTime: 40_000,
      executionTime: 2_500,
      workerId: "w-1",
    });
    expect((await decodeImage(state, { pricePerSecond: 0.0004 }, never)).job.cost).toBe(0.001);
    expect((await decodeImage({ ...state, executionTime: 0 }, { pricePerSecond: 1 }, never)).job.cost).toBe(0);
    // 0.1 + 0.2 and the like: to the sixth decimal.
    expect((await decodeImage({ ...state, executionTime: 3 }, { pricePerSecond: 0.1 }, never)).job.cost).toBe(0.0003);
    expect((await decode({ url }, { pricePerSecond: 1 })).job).toEqual({ id: "job-1" });
  });

  it.each([
    [{ seed: 5 }, 5],
    [{ info: '{"seed":6}' }, 6],
    [{ info: { seed: 6 } }, 6],
    [{ seed: 5, info: { seed: 6 } }, 5],
    [{ seed: 0 }, 0],
    [{ seed: "5", info: { seed: "6" } }, 9],
    [{}, 9],
  ])("knows the seed of %j", async (output, seed) => {
    expect((await decode({ url, ...output }, { seed: 9 })).seed).toBe(seed);
  });

  it("knows no seed when nobody does", async () => {
    expect((await decode({ url })).seed).toBeUndefined();
  });

  it.each([
    ['{"steps":20}', { steps: 20 }],
    [{ steps: 20 }, { steps: 20 }],
    ["Steps: 20", { text: "Steps: 20" }],
    [undefined, {}],
    [null, {}],
  ])("gives the info %j as %j", async (info, expected) => {
    expect((await decode({ url, info })).info).toEqual(expected);
  });

  it.each([
    ["apple.png", "apple.png"],
    ["/etc/passwd", "passwd"],
    ["../../apple.png", "apple.png"],
    ["..\\..\\apple.png", "apple.png"],
    ["C:\\Windows\\apple.png", "apple.png"],
    ["folder/", "alpha_job-1.png"],
    ["", "alpha_job-1.png"],
    [undefined, "alpha_job-1.png"],
    ["..", "alpha_job-1.png"],
    [".", "alpha_job-1.png"],
    ["a/..", "alpha_job-1.png"],
  ])("makes of the filename %j, which may come from anywhere, %s", async (filename, expected) => {
    expect((await decode({ url, filename })).filename).toBe(expected);
  });

  it.each([
    ["no output, which the service may have dropped", undefined, "size limit"],
    ["null", null, "LayerDiffuse worker"],
    ["a text", "done", "LayerDiffuse worker"],
    ["another worker's output", { text: "hello" }, "LayerDiffuse worker"],
    ["a link that is not https", { url: "http://example.com/a.png" }, "a link that is not https"],
    ["an empty data URL", { url: "data:image/png;base64," }, "without an image"],
    ["broken base64", { image_base64: base64.slice(0, -3) }, "incomplete or damaged"],
    ["an image cut short", { image_base64: png.subarray(0, 60).toString("base64") }, "not a whole PNG"],
    ["a JPEG", { url: "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAA" }, "not a whole PNG"],
  ])("refuses %s", async (_what, output, why) => {
    const error = await refusal(output);
    expect(error.message).toContain(why);
    expect(error).toMatchObject({ jobId: "job-1", code: "invalid_image" });
  });

  it("refuses pixels that cannot be decompressed, also where a DecompressionStream says so", async () => {
    const broken = Buffer.concat([
      png.subarray(0, 33),
      chunk("IDAT", randomBytes(60)),
      chunk("IEND", new Uint8Array()),
    ]);
    const output = { image_base64: broken.toString("base64") };
    expect((await refusal(output)).message).toContain("its pixels cannot be decompressed");
    const elsewhere = withGlobals({ process: undefined }, () => decode(output));
    expect(expectClass(await rejectionOf(elsewhere), InvalidImageError).message).toContain("cannot be decompressed");
  });

  it.each([
    ["damaged base64", { image_base64: base64.slice(0, -3).replace("A", "!") }],
    ["an image cut short", { url: `data:image/png;base64,${png.subarray(0, -5).toString("base64")}` }],
  ])("says of %s first how to fetch the paid image again", async (_what, output) => {
    const error = await refusal(output);
    expect(error.message).toContain('client.job("job-1").result(), which costs nothing; generate a new one only if');
    expect(error).toMatchObject({ jobId: "job-1", retryable: false });
  });

  it("tells the failure that may pass, when base64 is damaged and a link cannot be reached", async () => {
    const lost = new ConnectionError("no way", { arrived: "no" });
    const state = completed({ image_base64: "!", url: "https://bucket.test/a.png" });
    expect(await rejectionOf(decodeImage(state, {}, () => Promise.reject(lost)))).toBe(lost);
  });

  it("of a worker that says it failed tells why", async () => {
    const output = { status: "error", message: "width is too large", code: "invalid_input", field: "width" };
    const state = completed(output, { delayTime: 1, executionTime: 2, workerId: "w-1" });
    const error = expectClass(await rejectionOf(decodeImage(state, {}, never)), GenerationError);
    expect(error.message).toContain("width is too large");
    expect(error).toMatchObject({
      jobId: "job-1",
      failure: { code: "invalid_input", field: "width", raw: output },
      delayTime: 1,
      executionTime: 2,
      workerId: "w-1",
    });
  });

  it.each([{ error: "boom" }, { error: { message: "boom" } }, { detail: "boom" }, { error_message: "boom" }])(
    "of a worker that failed with %j says boom",
    async (fields) => {
      const error = expectClass(await rejectionOf(decode({ status: "error", ...fields })), GenerationError);
      expect(error.message).toBe("Job job-1: the worker could not generate an image: boom.");
    },
  );

  it.each([
    [{ error: "boom" }, undefined],
    [{ error: { message: "boom", traceback: "…" }, input: {} }, undefined],
    [{ error: "boom", url: "", image_base64: "" }, undefined],
    [{}, "boom"],
    [undefined, { message: "boom" }],
  ])("of a worker that completed with %j, error %j, says boom", async (output, said) => {
    const state = completed(output, said === undefined ? {} : { error: said });
    const error = expectClass(await rejectionOf(decodeImage(state, {}, never)), GenerationError);
    expect(error).toMatchObject({ jobId: "job-1", failure: { message: "boom" } });
  });

  it.each([
    { url, error: "no transparency" },
    { image_base64: base64, error: "slow" },
    { url, error: null },
  ])("keeps the image of a worker that also complains: %#", async (output) => {
    expect((await decode(output)).width).toBe(3);
  });

  it("passes on what the worker says of it", async () => {
    const alpha = { transparent: 0.001, partial: 0.002, opaque: 0.997, below_250: 0.002 };
    const warnings = [{ code: "no_transparency", message: "only 0.20% of the pixels are transparent" }];
    expect(await decode({ url, alpha, warnings })).toMatchObject({ alpha, warnings });
    const odd = await decode({ url, alpha: { transparent: "all" }, warnings: [5, { code: "x" }, ...warnings] });
    expect([odd.alpha, odd.warnings]).toEqual([undefined, warnings]);
    expect((await decode({ url })).warnings).toEqual([]);
  });

  it("fetches an https link", async () => {
    const download = vi.fn<Download>(async () => new Uint8Array(png));
    const link = "https://bucket.test/a.png?signature=1";
    const image = await decodeImage(completed({ url: link, filename: "a.png" }), {}, download);
    expect(image).toMatchObject({ width: 3, filename: "a.png" });
    expect(download.mock.calls).toEqual([[link, "job-1"]]);
  });

  it("checks what a link leads to like any image", async () => {
    const error = await rejectionOf(
      decodeImage(completed({ url: "https://bucket.test/a" }), {}, async () => new Uint8Array(9)),
    );
    expect(expectClass(error, InvalidImageError)).toMatchObject({ jobId: "job-1" });
  });
});

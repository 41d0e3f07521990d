import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ConfigurationError, GenerationError, InvalidImageError } from "../../../src/errors/index.ts";
import { decodeImage } from "../../../src/image/generated-image.ts";
import type { JobState } from "../../../src/protocol/answers.ts";
import { expectClass, rejectionOf, thrownBy } from "../../helpers/failures.ts";
import { makePng } from "../../helpers/png.ts";

const png = makePng({ width: 3, height: 5 });
const base64 = png.toString("base64");
const url = `data:image/png;base64,${base64}`;

function completed(output?: unknown, more: Partial<JobState> = {}): JobState {
  return { id: "job-1", status: "COMPLETED", raw: "", ...(output === undefined ? {} : { output }), ...more };
}

const decode = (output: unknown, context = {}) => decodeImage(completed(output), context);
const refusal = (output?: unknown) =>
  expectClass(
    thrownBy(() => decodeImage(completed(output), {})),
    InvalidImageError,
  );

afterEach(() => {
  vi.unstubAllGlobals();
});

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
    ["base64 beside odd fields", { image_base64: base64, status: 5, filename: 7, url: {}, info: [], seed: "x" }],
  ])("reads %s", (_what, output) => {
    const image = decode(output);
    expect(png.equals(image.bytes)).toBe(true);
    expect(Buffer.isBuffer(image.bytes)).toBe(true);
    expect(image).toMatchObject({ type: "image/png", width: 3, height: 5, hasAlpha: true });
  });

  it("tells what the job took", () => {
    const state = completed({ url }, { delayTime: 40_000, executionTime: 2_500, workerId: "w-1" });
    expect(decodeImage(state, {}).job).toEqual({
      id: "job-1",
      delayTime: 40_000,
      executionTime: 2_500,
      workerId: "w-1",
    });
    expect(decodeImage(state, { pricePerSecond: 0.0004 }).job.cost).toBeCloseTo(0.001);
    expect(decodeImage({ ...state, executionTime: 0 }, { pricePerSecond: 1 }).job.cost).toBe(0);
    expect(decode({ url }, { pricePerSecond: 1 }).job).toEqual({ id: "job-1" });
  });

  it.each([
    [{ seed: 5 }, 5],
    [{ info: '{"seed":6}' }, 6],
    [{ info: { seed: 6 } }, 6],
    [{ seed: 5, info: { seed: 6 } }, 5],
    [{ seed: 0 }, 0],
    [{ seed: "5", info: { seed: "6" } }, 9],
    [{}, 9],
  ])("knows the seed of %j", (output, seed) => {
    expect(decode({ url, ...output }, { seed: 9 }).seed).toBe(seed);
  });

  it("knows no seed when nobody does", () => {
    expect(decode({ url }).seed).toBeUndefined();
  });

  it.each([
    ['{"steps":20}', { steps: 20 }],
    [{ steps: 20 }, { steps: 20 }],
    ["Steps: 20", { text: "Steps: 20" }],
    [undefined, {}],
    [null, {}],
  ])("gives the info %j as %j", (info, expected) => {
    expect(decode({ url, info }).info).toEqual(expected);
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
  ])("makes of the filename %j, which may come from anywhere, %s", (filename, expected) => {
    expect(decode({ url, filename }).filename).toBe(expected);
  });

  it.each([
    ["no output, which the service may have dropped", undefined, "size limit"],
    ["null", null, "LayerDiffuse worker"],
    ["a text", "done", "LayerDiffuse worker"],
    ["another worker's output", { text: "hello" }, "LayerDiffuse worker"],
    ["a link", { url: "https://example.com/a.png" }, "a link instead of the image"],
    ["an empty data URL", { url: "data:image/png;base64," }, "without an image"],
    ["broken base64", { image_base64: base64.slice(0, -3) }, "cut short"],
    ["an image cut short", { image_base64: png.subarray(0, 60).toString("base64") }, "not a whole PNG"],
    ["a JPEG", { url: "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAA" }, "not a whole PNG"],
  ])("refuses %s", (_what, output, why) => {
    const error = refusal(output);
    expect(error.message).toContain(why);
    expect(error).toMatchObject({ jobId: "job-1", code: "invalid_image" });
  });

  it("of a worker that says it failed tells why", () => {
    const output = { status: "error", message: "width is too large", code: "invalid_input", field: "width" };
    const state = completed(output, { delayTime: 1, executionTime: 2, workerId: "w-1" });
    const error = expectClass(
      thrownBy(() => decodeImage(state, {})),
      GenerationError,
    );
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
    (fields) => {
      const error = expectClass(
        thrownBy(() => decode({ status: "error", ...fields })),
        GenerationError,
      );
      expect(error.message).toBe("Job job-1: the worker made no image: boom.");
    },
  );
});

describe("GeneratedImage", () => {
  it("is the same bytes as blob, file and data URL", async () => {
    const image = decode({ url, filename: "apple.png" });
    expect(image.blob().type).toBe("image/png");
    expect(png.equals(new Uint8Array(await image.blob().arrayBuffer()))).toBe(true);
    const file = image.file();
    expect([file.name, file.type]).toEqual(["apple.png", "image/png"]);
    expect(png.equals(new Uint8Array(await file.arrayBuffer()))).toBe(true);
    expect(image.dataUrl()).toBe(url);
    expect(decode({ url: image.dataUrl() }).dataUrl()).toBe(url);
  });

  it("saves to a path or a file URL, over an existing file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "layerdiffuse-"));
    try {
      const path = join(folder, "apple.png");
      const image = decode({ url });
      await image.save(path);
      expect(png.equals(await readFile(path))).toBe(true);
      const other = decode({ image_base64: makePng({ width: 1 }).toString("base64") });
      await other.save(pathToFileURL(path));
      expect(Buffer.from(other.bytes).equals(await readFile(path))).toBe(true);
      expect(await rejectionOf(image.save(join(folder, "none", "apple.png")))).toMatchObject({ code: "ENOENT" });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.each([
    ["in a browser", "navigator", { userAgent: "Mozilla/5.0 (X11; Linux x86_64)" }],
    ["without a process", "process", undefined],
    ["without built-in modules", "process", { env: {} }],
  ])("does not save %s", async (_what, name, value) => {
    const image = decode({ url });
    vi.stubGlobal(name, value);
    const error = expectClass(await rejectionOf(image.save("apple.png")), ConfigurationError);
    expect(error.message).toContain("dataUrl()");
  });
});

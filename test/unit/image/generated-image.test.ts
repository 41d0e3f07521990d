import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ConfigurationError, FileError, InvalidImageError } from "../../../src/errors/index.ts";
import { type AboutImage, GeneratedImage } from "../../../src/image/generated-image.ts";
import { expectClass, rejectionOf, thrownBy } from "../../helpers/failures.ts";
import { makePng } from "../../helpers/png.ts";
import { withGlobals } from "../../helpers/runtimes.ts";

const png = makePng({ width: 3, height: 5 });
const url = `data:image/png;base64,${png.toString("base64")}`;

const imageOf = (about: AboutImage = {}, bytes: Uint8Array<ArrayBuffer> = png) => GeneratedImage.from(bytes, about);

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("GeneratedImage", () => {
  it("is the same bytes as blob, file and data URL", async () => {
    const image = imageOf({ filename: "apple.png" });
    expect(image.blob().type).toBe("image/png");
    expect(png.equals(new Uint8Array(await image.blob().arrayBuffer()))).toBe(true);
    const file = image.file();
    expect([file.name, file.type]).toEqual(["apple.png", "image/png"]);
    expect(png.equals(new Uint8Array(await file.arrayBuffer()))).toBe(true);
    expect(image.dataUrl()).toBe(url);
  });

  it("saves to a path or a file URL, over an existing file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "layerdiffuse-"));
    try {
      const path = join(folder, "apple.png");
      const image = imageOf({ job: { id: "job-1" } });
      await image.save(path);
      expect(png.equals(await readFile(path))).toBe(true);
      const other = imageOf({}, makePng({ width: 1 }));
      await other.save(pathToFileURL(path));
      expect(Buffer.from(other.bytes).equals(await readFile(path))).toBe(true);
      const lost = image.save(join(folder, "none", "apple.png"));
      expect(expectClass(await rejectionOf(lost), FileError)).toMatchObject({
        code: "file",
        jobId: "job-1",
        cause: { code: "ENOENT" },
        message: expect.stringContaining("You still have the image"),
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.each([
    ["in a browser", "navigator", { userAgent: "Mozilla/5.0 (X11; Linux x86_64)" }],
    ["without a process", "process", undefined],
    ["without built-in modules", "process", { env: {} }],
  ])("does not save %s", async (_what, name, value) => {
    const image = imageOf();
    vi.stubGlobal(name, value);
    const error = expectClass(await rejectionOf(image.save("apple.png")), ConfigurationError);
    expect(error.message).toContain("dataUrl()");
  });

  it("is made of a test's own bytes, with whatever is said of them", () => {
    expect(imageOf()).toMatchObject({
      filename: "image.png",
      info: {},
      warnings: [],
      alpha: undefined,
      seed: undefined,
      job: { id: "" },
      width: 3,
      height: 5,
      hasAlpha: true,
    });
    const about = { filename: "a.png", seed: 7, info: { steps: 20 }, job: { id: "job-1", cost: 0.001 } };
    expect(imageOf(about)).toMatchObject(about);
    expectClass(
      thrownBy(() => imageOf({}, new Uint8Array(9))),
      InvalidImageError,
    );
  });

  it("is made of a PNG with whole pixels only, without what follows its end", () => {
    const broken = makePng({ pixels: new Uint8Array(9) });
    expect(
      expectClass(
        thrownBy(() => imageOf({}, broken)),
        InvalidImageError,
      ).message,
    ).toContain("its pixels have 9 of");
    expect(png.equals(imageOf({}, Buffer.concat([png, Buffer.alloc(3)])).bytes)).toBe(true);
    // Where only a DecompressionStream could tell, which cannot answer at once.
    expect(withGlobals({ process: undefined }, () => imageOf({}, broken)).width).toBe(8);
  });

  it("is written to JSON without its bytes", () => {
    const image = imageOf({ seed: 7, warnings: [{ code: "no_transparency", message: "opaque" }] });
    expect(JSON.parse(JSON.stringify(image))).toEqual({
      type: "image/png",
      filename: "image.png",
      width: 3,
      height: 5,
      hasAlpha: true,
      seed: 7,
      info: {},
      warnings: [{ code: "no_transparency", message: "opaque" }],
      job: { id: "" },
    });
  });
});

import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Resvg } from "@resvg/resvg-js";
import { describe, expect, it } from "vitest";
import { fullSetPackage, loadArtSet, loadFullSet } from "../../../../src/local/artist/art-set.ts";
import { measurePicture } from "../../../../src/local/artist/measure.ts";
import { words } from "../../../../src/local/artist/prompt-words.ts";

const file = new URL("../../../../art/fluent-emoji.json.br", import.meta.url);

describe("the packed art", () => {
  it("is at most 1 MiB and holds several hundred pictures", async () => {
    expect((await stat(file)).size).toBeLessThanOrEqual(1024 * 1024);
    const set = await loadArtSet(file);
    expect(set.names.length).toBeGreaterThan(300);
    expect(set).toMatchObject({
      set: "Fluent Emoji",
      license: "MIT, Microsoft",
      version: expect.stringMatching(/^\d/),
    });
  });

  it("draws every picture, none blank, each inside its box", async () => {
    const set = await loadArtSet(file);
    const side = 48;
    for (const name of set.names) {
      const picture = set.picture(name);
      const svg = `<svg xmlns='http://www.w3.org/2000/svg' width='${side}' height='${side}' viewBox='0 0 32 32'>${picture?.body}</svg>`;
      const { pixels } = new Resvg(svg, { font: { loadSystemFonts: false } }).render();
      const measured = measurePicture({ data: pixels, side }, 32);
      const box = picture?.box ?? [0, 0, 0, 0];
      expect(measured, name).not.toBeNull();
      // One pixel of this size is 0.67 units of the view box.
      expect(Math.abs((measured?.box[2] ?? 0) - box[2]), name).toBeLessThan(2);
      expect(Math.abs((measured?.box[3] ?? 0) - box[3]), name).toBeLessThan(2);
    }
  }, 60_000);

  it("has a picture for each of its words, and keeps words as they are looked up", async () => {
    const set = await loadArtSet(file);
    for (const [word, name] of set.words) {
      expect(set.picture(name), word).toBeDefined();
      expect(words(word).join(" ")).toBe(word);
    }
    expect(set.picture("constructor")).toBeUndefined();
  });
});

describe("loadFullSet", () => {
  it("is undefined when the package is not installed", async () => {
    expect(await loadFullSet("/nowhere/package.json")).toBeUndefined();
  });

  it("reads the installed package and leaves skin tones out", async () => {
    const folder = await mkdtemp(join(tmpdir(), "art-"));
    try {
      const inside = join(folder, "node_modules", fullSetPackage);
      await mkdir(inside, { recursive: true });
      await writeFile(join(inside, "package.json"), JSON.stringify({ name: fullSetPackage, version: "1.0.0" }));
      const icons = { "tram-car": { body: "<path d='M0 0h9v9z'/>" }, "foot-dark": { body: "" } };
      await writeFile(join(inside, "icons.json"), JSON.stringify({ icons }));
      const set = await loadFullSet(join(folder, "package.json"));
      expect(set?.names).toEqual(["tram-car"]);
      expect(set?.words.get("tram car")).toBe("tram-car");
      expect(set?.picture("tram-car")?.body).toContain("path");
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

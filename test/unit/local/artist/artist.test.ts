import { describe, expect, it } from "vitest";
import { type ArtistImage, createArtist } from "../../../../src/local/artist/artist.ts";
import type { Clock } from "../../../../src/runtime/clock.ts";
import { coverage, decodePng } from "./decode-png.ts";

const artist = createArtist();

function context(signal = new AbortController().signal) {
  const updates: unknown[] = [];
  return { signal, workerId: "worker", progress: (update: unknown) => updates.push(update), updates };
}

async function draw(input: Record<string, unknown>): Promise<ArtistImage> {
  const output = await artist({ id: "job", input }, context());
  if (!("info" in output)) throw new Error(JSON.stringify(output));
  return output;
}

const bytesOf = (output: ArtistImage) => Buffer.from(output.image_base64 ?? "", "base64");
const infoOf = (output: ArtistImage): Record<string, unknown> => JSON.parse(output.info);
/** Smaller than the default, so that the suite is quick. */
const small = { width: 256, height: 256, seed: 7 };

describe("the picture", () => {
  it("is an RGBA PNG of 1024×1024 by default, transparent around an opaque subject", async () => {
    const png = decodePng(bytesOf(await draw({ prompt: "a red apple, high quality", seed: 1 })));
    expect(png).toMatchObject({ width: 1024, height: 1024, bitDepth: 8, colourType: 6, interlaced: false });
    const { transparent, opaque } = coverage(png);
    expect(transparent).toBeGreaterThan(0.2);
    expect(opaque).toBeGreaterThan(0.2);
    expect(transparent + opaque).toBeLessThan(1);
  });

  it.each([
    [1024, 512],
    [512, 1024],
    [64, 64],
    [256, 320],
  ])("has the size asked for: %i×%i, the subject well inside", async (width, height) => {
    const png = decodePng(bytesOf(await draw({ prompt: "a cat", width, height, seed: 3 })));
    expect(png).toMatchObject({ width, height });
    const { extent, touchesEdge } = coverage(png);
    expect(touchesEdge).toBe(false);
    expect(extent).toBeGreaterThan(0.66);
    expect(extent).toBeLessThan(0.92);
  });

  it.each(["a rocket", "a tree", "a car", "quixotry", "a giraffe", "a purple zorblax", "a snake"])(
    "fills the canvas well whatever the seed: %s",
    async (prompt) => {
      for (let seed = 0; seed < 6; seed++) {
        const { extent, touchesEdge } = coverage(decodePng(bytesOf(await draw({ ...small, prompt, seed }))));
        expect(touchesEdge).toBe(false);
        expect(extent).toBeGreaterThan(0.66);
        expect(extent).toBeLessThan(0.92);
      }
    },
  );

  it("of a red apple is mostly red", async () => {
    for (let seed = 0; seed < 5; seed++) {
      const [red, green, blue] = coverage(
        decodePng(bytesOf(await draw({ ...small, prompt: "a red apple", seed }))),
      ).mean;
      expect(red).toBeGreaterThan(1.8 * green);
      expect(red).toBeGreaterThan(1.8 * blue);
    }
  });

  it("takes the colour said of it", async () => {
    const mean = async (prompt: string) => coverage(decodePng(bytesOf(await draw({ ...small, prompt })))).mean;
    const [red, green, blue] = await mean("a blue apple");
    expect(blue).toBeGreaterThan(1.4 * red);
    expect(blue).toBeGreaterThan(1.1 * green);
    const leafy = await mean("a green elephant");
    expect(leafy[1]).toBeGreaterThan(1.2 * leafy[0]);
    const black = await mean("a black elephant");
    expect(Math.max(...black)).toBeLessThan(110);
    const purple = await mean("a purple quixotry");
    expect(Math.min(purple[0], purple[2])).toBeGreaterThan(1.2 * purple[1]);
  });

  it("is the same for the same seed, byte for byte, and another for another", async () => {
    for (const prompt of ["a cat", "quixotry"]) {
      const [one, again, other] = await Promise.all([7, 7, 8].map((seed) => draw({ ...small, prompt, seed })));
      expect(one?.image_base64).toBe(again?.image_base64);
      expect(decodePng(bytesOf(one as ArtistImage)).pixels).not.toEqual(
        decodePng(bytesOf(other as ArtistImage)).pixels,
      );
    }
  });

  it("is a shape when no word is known, and says so", async () => {
    const output = await draw({ ...small, prompt: "quixotry" });
    expect(infoOf(output)["art"]).toMatch(/^generic shape: \w+ \(no picture for these words\)$/);
    expect(coverage(decodePng(bytesOf(output))).opaque).toBeGreaterThan(0.15);
  });

  it("pays no heed to the words of the negative prompt", async () => {
    expect(infoOf(await draw({ ...small, prompt: "a dog", negative_prompt: "cat, blue" }))["art"]).toContain(": dog (");
    expect(infoOf(await draw({ ...small, prompt: "quixotry", negative_prompt: "cat" }))["art"]).toContain("generic");
  });
});

describe("the output", () => {
  it("has the fields of the worker, and info that calls it a stand-in", async () => {
    const output = await draw({ ...small, prompt: "a red apple", steps: 12, cfg_scale: 6.5 });
    expect(output.status).toBe("success");
    expect(output.filename).toMatch(/^alpha_\d{10}_[\w-]{22}\.png$/);
    expect(output.url).toBe(`data:image/png;base64,${output.image_base64}`);
    expect(infoOf(output)).toMatchObject({
      prompt: "a red apple",
      all_prompts: ["a red apple"],
      negative_prompt: "bad, ugly",
      seed: 7,
      all_seeds: [7],
      width: 256,
      height: 256,
      sampler_name: "DPM++ 2M SDE",
      cfg_scale: 6.5,
      steps: 12,
      sd_model_name: "stand-in",
      stand_in: true,
      art: "Fluent Emoji: red-apple (MIT, Microsoft)",
    });
  });

  it("holds the image once where one encoding is asked for", async () => {
    const url = await draw({ ...small, prompt: "a cat", response: { encoding: "url" } });
    expect(url.image_base64).toBeUndefined();
    const base64 = await draw({ ...small, prompt: "a cat", response: { encoding: "base64" } });
    expect(base64.url).toBeUndefined();
    expect(url.url).toBe(`data:image/png;base64,${base64.image_base64}`);
    expect(await draw({ ...small, prompt: "a cat", response: { encoding: "both" } })).toMatchObject({
      url: url.url,
      image_base64: base64.image_base64,
    });
  });

  it.each([undefined, null, -1])("reports the seed it drew when the seed is %s", async (seed) => {
    const info = infoOf(await draw({ ...small, prompt: "a cat", seed }));
    expect(info["seed"]).toSatisfy((value) => Number.isInteger(value) && (value as number) >= 0);
    expect(info["all_seeds"]).toEqual([info["seed"]]);
  });

  it("carries its parameters in a text chunk", async () => {
    const output = await draw({ ...small, prompt: "a red apple", negative_prompt: "bad: ugly" });
    const text = decodePng(bytesOf(output))
      .chunks.find(({ type }) => type === "tEXt")
      ?.data.toString("latin1");
    const [keyword, value = ""] = text?.split("\0") ?? [];
    expect(keyword).toBe("parameters");
    const lines = value.split("\n");
    expect(lines.slice(0, 2)).toEqual(["a red apple", "Negative prompt: bad: ugly"]);
    expect(lines[2]).toMatch(
      /^Steps: 20, Sampler: DPM\+\+ 2M SDE, Schedule type: Karras, CFG scale: 5\.0, Seed: 7, Size: 256x256, Model: stand-in \(Fluent Emoji\), /,
    );
    expect(infoOf(output)["infotexts"]).toEqual([value]);
  });

  it("writes a prompt beyond Latin-1 as international text", async () => {
    const output = await draw({ ...small, prompt: "a cat 猫 🐈" });
    const data = decodePng(bytesOf(output)).chunks.find(({ type }) => type === "iTXt")?.data;
    expect(data?.subarray(0, 15).toString("latin1")).toBe("parameters\0\0\0\0\0");
    expect(data?.subarray(15).toString("utf8")).toMatch(/^a cat 猫 🐈\n/);
  });
});

describe("the input", () => {
  const refuse = async (input: unknown) => artist({ id: "job", input: input as Record<string, unknown> }, context());

  it.each([
    [{}, "missing_field", "prompt"],
    [{ prompt: null }, "missing_field", "prompt"],
    [{ prompt: "   " }, "empty_prompt", "prompt"],
    [{ prompt: 123 }, "wrong_type", "prompt"],
    [{ prompt: ["a"] }, "wrong_type", "prompt"],
    [{ prompt: "a".repeat(2001) }, "too_long", "prompt"],
    [{ prompt: "a", negative_prompt: 5 }, "wrong_type", "negative_prompt"],
    ...[0, -1, 1.5, 101, "many", Number.NaN].map((steps) => [{ prompt: "a", steps }, "out_of_range", "steps"] as const),
    ...["abc", Number.NaN, 1000, 0.5, true].map(
      (cfg_scale) => [{ prompt: "a", cfg_scale }, "out_of_range", "cfg_scale"] as const,
    ),
    [{ prompt: "a", width: 1000 }, "bad_size", "width"],
    [{ prompt: "a", height: 0 }, "bad_size", "height"],
    [{ prompt: "a", height: -64 }, "bad_size", "height"],
    [{ prompt: "a", width: "wide" }, "bad_size", "width"],
    [{ prompt: "a", width: 8192 }, "too_large", "width"],
    [{ prompt: "a", height: 2368 }, "too_large", "height"],
    ...["abc", 1.5, 2 ** 32, -5].map((seed) => [{ prompt: "a", seed }, "bad_seed", "seed"] as const),
    [{ prompt: "a", response: { encoding: "jpeg" } }, "unsupported", "response.encoding"],
  ] as const)("a bad input is refused, case %#: $1 of $2", async (input, code, field) => {
    expect(await refuse(input)).toEqual({ status: "error", error: expect.stringContaining(field), code, field });
  });

  it.each([null, ["prompt"], "a cat"])("%j is refused as no object", async (input) => {
    expect(await refuse(input)).toMatchObject({ status: "error", code: "bad_input" });
  });

  it("may lie on each limit, be given as text, hold null, or name what the stand-in cannot show", async () => {
    const output = await draw({
      prompt: `a cat ${"a".repeat(1994)}`,
      steps: "100",
      cfg_scale: 30,
      width: "64",
      height: 64,
      seed: 4_294_967_295,
      negative_prompt: null,
      scheduler: null,
      generator_type: "icon_3d",
      loras: [{ name: "geometric-logo" }],
      checkpoint: "stand-in",
    });
    expect(infoOf(output)).toMatchObject({ steps: 100, width: 64, seed: 4_294_967_295, negative_prompt: "bad, ugly" });
  });

  it.each([
    [{ hight: 3 }, "unknown_field", "hight"],
    [{ checkpoint: "sdxl-base" }, "unknown_checkpoint", "checkpoint"],
    [{ generator_type: "general_v6" }, "unknown_checkpoint", "generator_type"],
    [{ loras: [{ name: "glass" }] }, "unknown_lora", "loras.0.name"],
  ])("that asks for what is not there is refused: %j", async (fields, code, field) => {
    expect(await refuse({ prompt: "a", ...fields })).toMatchObject({ status: "error", code, field });
  });

  it("names the nearest sizes and the value received", async () => {
    expect(await refuse({ prompt: "a", width: 1000 })).toMatchObject({
      error: "width must be a multiple of 64 (nearest: 960, 1024) (got 1000)",
    });
  });

  it("that warms up is answered at once", async () => {
    const { updates, ...rest } = context();
    expect(await artist({ id: "job", input: { warm_up: true } }, rest)).toEqual({
      status: "success",
      warm: true,
      stand_in: true,
    });
    expect(updates).toEqual([]);
  });
});

describe("the steps", () => {
  /** Fires every timer at once and keeps the delays. */
  function instantClock(onDelay = (_count: number) => {}): Clock & { delays: number[] } {
    const delays: number[] = [];
    return {
      delays,
      now: () => 0,
      setTimeout(callback, milliseconds) {
        delays.push(milliseconds);
        onDelay(delays.length);
        queueMicrotask(callback);
        return undefined;
      },
      clearTimeout() {},
    };
  }

  it("are reported one by one, 20 by default, without waiting", async () => {
    const clock = instantClock();
    const { updates, ...rest } = context();
    await createArtist({ clock })({ id: "job", input: { ...small, prompt: "a cat" } }, rest);
    expect(updates).toEqual(Array.from({ length: 20 }, (_value, index) => ({ step: index + 1, steps: 20 })));
    expect(clock.delays).toEqual([]);
  });

  it("take the time asked for", async () => {
    const clock = instantClock();
    const { updates, ...rest } = context();
    await createArtist({ clock, stepTime: 250 })({ id: "job", input: { ...small, prompt: "a cat", steps: 3 } }, rest);
    expect(clock.delays).toEqual([250, 250, 250]);
    expect(updates).toHaveLength(3);
  });

  it("end when the signal aborts, with its reason", async () => {
    const controller = new AbortController();
    const reason = new Error("cancelled");
    const clock = instantClock((count) => {
      if (count === 3) controller.abort(reason);
    });
    const { updates, ...rest } = context(controller.signal);
    const drawing = createArtist({ clock, stepTime: 250 })({ id: "job", input: { ...small, prompt: "a cat" } }, rest);
    await expect(drawing).rejects.toBe(reason);
    expect(updates).toHaveLength(2);
  });

  it("do not start when the signal has aborted already", async () => {
    const { updates, ...rest } = context(AbortSignal.abort("gone"));
    await expect(artist({ id: "job", input: { prompt: "a cat" } }, rest)).rejects.toBe("gone");
    expect(updates).toEqual([]);
  });
});

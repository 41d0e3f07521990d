import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { deferred } from "../../../helpers/deferred.ts";
import { Capture, picture, png, stage } from "../fake-terminal.ts";

describe("layerdiffuse generate", () => {
  test("writes output.png, and nothing but its path to stdout", async () => {
    const { finish, folder } = await stage();
    const { code, stdout, stderr } = await finish(["generate", "a red apple"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "output.png\n" });
    expect(await readFile(join(folder, "output.png"))).toEqual(png);
    expect(await readdir(folder)).toEqual(["output.png"]);
    expect(stderr).toMatch(/^submitting · 0\.0 s\n/);
    expect(stderr).toMatch(/ · job \S+\n/);
    expect(stderr).toMatch(/done in .* s: 8×8, seed \d+, delay .* s, execution .* s, job \S+\n$/);
  });

  test("sends what the options say, and nothing more", async () => {
    const { finish, inputs } = await stage();
    const options = ["--negative", "leaf", "--seed", "7", "--steps", "30", "--cfg-scale", "4.5", "--width", "512"];
    const more = ["--height", "768", "--sampler", "Euler a", "--scheduler", "Karras", "--preset", "logo"];
    expect((await finish(["generate", "a red apple", ...options, ...more])).code).toBe(0);
    expect(inputs()).toEqual([
      {
        prompt: "a red apple",
        negative_prompt: "leaf",
        seed: 7,
        steps: 30,
        cfg_scale: 4.5,
        width: 512,
        height: 768,
        sampler_name: "Euler a",
        scheduler: "Karras",
        generator_type: "logo",
        response: { encoding: "base64" },
      },
    ]);
  });

  test("--timeout and --queue-timeout are seconds, and go to the service too", async () => {
    const { finish, endpoint } = await stage();
    await finish(["generate", "an apple", "--timeout", "60", "--queue-timeout", "120"]);
    expect(JSON.parse(endpoint.requests[0]?.body ?? "").policy).toEqual({ executionTimeout: 60_000, ttl: 240_000 });
  });

  test("tells the cost when a price is known", async () => {
    const { finish } = await stage();
    const { stderr } = await finish(["generate", "an apple", "--price-per-second", "1000"]);
    expect(stderr).toMatch(/cost \$[\d.]+/);
  });

  test("--json gives one object with the seed, the job and what it took", async () => {
    const { finish } = await stage();
    const { stdout } = await finish(["generate", "an apple", "--json", "--seed", "5", "--price-per-second", "1"]);
    expect(JSON.parse(stdout)).toEqual({
      path: "output.png",
      jobId: expect.any(String),
      seed: 5,
      width: 8,
      height: 8,
      bytes: png.length,
      delayTime: expect.any(Number),
      executionTime: expect.any(Number),
      workerId: expect.any(String),
      cost: expect.any(Number),
      warnings: [],
    });
  });

  test("prints what the worker warns of, and puts it in --json with the shares of alpha", async () => {
    const warnings = [{ code: "no_transparency", message: "The image has no transparency." }];
    const alpha = { transparent: 0.5, partial: 0.125, opaque: 0.375, below_250: 0.6 };
    const { finish } = await stage({ worker: () => ({ ...picture, warnings, alpha }) });
    const { code, stdout, stderr } = await finish(["generate", "an apple", "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ warnings, alpha });
    expect(stderr).toContain("\nwarning: The image has no transparency.\n");
    expect(stderr).toMatch(/done in .* s: 8×8, 60% transparent, seed \d+/);
    const quiet = await finish(["generate", "an apple", "--quiet", "--force"]);
    expect(quiet).toEqual({ code: 0, stdout: "output.png\n", stderr: "" });
  });

  test("prints a warning of several lines as one line", async () => {
    const warnings = [{ code: "odd", message: "first\n\u001b[31msecond" }];
    const { finish } = await stage({ worker: () => ({ ...picture, warnings }) });
    const { stderr } = await finish(["generate", "an apple"]);
    expect(stderr).toContain("\nwarning: first [31msecond.\n");
  });

  test("says when a busy service is asked again", async () => {
    const { start, endpoint } = await stage();
    endpoint.faults.add({ operation: "run", respond: { status: 429, headers: { "retry-after": "12" } } });
    const { stderr, code, interrupt } = start(["generate", "an apple"]);
    await stderr.until(/^waiting: the service is busy or can't be reached; asking again in 1\d s · /m);
    interrupt();
    expect(await code).toBe(130);
  });

  test("--quiet leaves stderr empty", async () => {
    const { finish } = await stage();
    expect(await finish(["generate", "an apple", "-q"])).toEqual({ code: 0, stdout: "output.png\n", stderr: "" });
  });

  test("-o - writes the bytes to stdout and nothing else", async () => {
    const { start, folder } = await stage();
    const { code, stdout } = start(["generate", "an apple", "-o", "-"]);
    expect(await code).toBe(0);
    expect(stdout.bytes).toEqual(png);
    expect(await readdir(folder)).toEqual([]);
  });

  test("-o - does not write a picture to a terminal", async () => {
    const { finish, endpoint } = await stage();
    const { code, stderr } = await finish(["generate", "an apple", "-o", "-"], { isTerminal: true });
    expect(code).toBe(3);
    expect(stderr).toContain("would write a PNG to the terminal");
    expect(endpoint.requests).toEqual([]);
  });

  test("--json and -o - exclude each other", async () => {
    const { finish } = await stage();
    expect((await finish(["generate", "an apple", "-o", "-", "--json"])).code).toBe(2);
  });

  test("--mode sync asks with one held request", async () => {
    const { finish, endpoint } = await stage();
    expect((await finish(["generate", "an apple", "--mode", "sync"])).code).toBe(0);
    expect(endpoint.requests.map(({ operation }) => operation)).toEqual(["runsync"]);
  });

  test("tells the worker's steps", async () => {
    const { promise, resolve } = deferred();
    const { start } = await stage({
      worker: async (_, { progress }) => {
        progress({ step: 5, steps: 20 });
        await promise;
        return picture;
      },
    });
    const { stderr, code } = start(["generate", "an apple"]);
    await stderr.until(/^running · .* · step 5 of 20/m);
    resolve();
    expect(await code).toBe(0);
  });

  test("tells what the queue and the workers do, when a worker takes long to get up", async () => {
    const { start } = await stage({ coldStart: 600_000 });
    const { stderr, code, interrupt } = start(["generate", "an apple"]);
    await stderr.until(/^starting: a worker is starting up · .* · 1 in the queue · workers: 1 initializing, 2 idle$/m);
    interrupt();
    expect(await code).toBe(130);
  });
});

describe("generate -", () => {
  test.each([
    ["UTF-8", Buffer.from("an apple, ein \u00c4pfel\n")],
    ["UTF-16", Buffer.from("\uFEFFan apple, ein \u00c4pfel\r\n", "utf16le")],
  ])("reads the prompt from stdin, in %s", async (_, bytes) => {
    const { finish, inputs } = await stage();
    expect((await finish(["generate", "-"], { stdin: Readable.from([bytes]) })).code).toBe(0);
    expect(inputs()).toEqual([expect.objectContaining({ prompt: "an apple, ein \u00c4pfel" })]);
  });

  test.each([
    ["nothing", "", "Standard input holds no prompt"],
    ["blanks", " \n\n", "Standard input holds no prompt"],
    ["an image", png, "Standard input"],
    ["another encoding", Buffer.from("ein \xc4pfel", "latin1"), "Standard input, line 1: this is not UTF-8"],
  ])("refuses %s, and sends nothing", async (_, content, message) => {
    const { finish, endpoint } = await stage();
    const { code, stderr } = await finish(["generate", "-"], { stdin: Readable.from([Buffer.from(content)]) });
    expect(code).toBe(2);
    expect(stderr).toContain(`error: ${message}`);
    expect(endpoint.requests).toEqual([]);
  });

  test("says to whoever sits at a terminal that it reads, and ends on Ctrl-C", async () => {
    const { start, endpoint } = await stage();
    const stdin = Object.assign(new PassThrough(), { isTTY: true });
    const { code, stderr, interrupt } = start(["generate", "-"], { stdin });
    await stderr.until(/Type the prompt\. Ctrl-D ends it\./);
    interrupt();
    expect(await code).toBe(130);
    expect(endpoint.requests).toEqual([]);
  });

  test.each([["ein \uFFFDpfel"], ["an apple", "--negative", "ein \uFFFDpfel"]])(
    "a terminal that has lost a character draws nothing: %s",
    async (...argv) => {
      const { finish, endpoint } = await stage();
      const { code, stderr } = await finish(["generate", ...argv]);
      expect(code).toBe(2);
      expect(stderr).toContain("lost a character");
      expect(endpoint.requests).toEqual([]);
    },
  );
});

describe("an existing file", () => {
  test("is not overwritten, and nothing is submitted", async () => {
    const { finish, folder, endpoint } = await stage();
    await writeFile(join(folder, "apple.png"), "mine");
    const { code, stderr, stdout } = await finish(["generate", "an apple", "-o", "apple.png"]);
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toBe(
      "error: apple.png already exists. Pass --force to overwrite it, or another name: -o apple-2.png\n",
    );
    expect(await readFile(join(folder, "apple.png"), "utf8")).toBe("mine");
    expect(endpoint.requests).toEqual([]);
  });

  test("is overwritten with --force, through a link that stays one", async () => {
    const { finish, folder } = await stage();
    await writeFile(join(folder, "apple.png"), "mine");
    await symlink("apple.png", join(folder, "link.png"));
    expect((await finish(["generate", "an apple", "-o", "link.png", "--force"])).code).toBe(0);
    expect(await readFile(join(folder, "apple.png"))).toEqual(png);
    expect((await readdir(folder)).sort()).toEqual(["apple.png", "link.png"]);
  });

  test("that appears while the job runs stays as it is, and the image can still be had", async () => {
    const { promise, resolve } = deferred();
    const { start, finish, folder, endpoint } = await stage({ worker: () => promise.then(() => picture) });
    const { stderr, code } = start(["generate", "an apple"]);
    await stderr.until(/job/);
    await writeFile(join(folder, "output.png"), "mine");
    resolve();
    expect(await code).toBe(3);
    expect(await readFile(join(folder, "output.png"), "utf8")).toBe("mine");
    expect(await readdir(folder)).toEqual(["output.png"]);
    const [job] = endpoint.jobs();
    expect(stderr.text).toContain("output.png has appeared in the meantime");
    expect(stderr.text).toContain(`layerdiffuse result ${job?.id} -o FILE`);
    expect((await finish(["result", String(job?.id), "-o", "apple.png"])).code).toBe(0);
    expect(await readFile(join(folder, "apple.png"))).toEqual(png);
  });
});

describe("a place that cannot be written", () => {
  test.each([
    ["a folder", "pictures", /pictures is a folder/],
    ["a file in a folder that does not exist", "missing/apple.png", /folder .*missing: it does not exist/],
  ])("%s is refused before anything is submitted", async (_, path, message) => {
    const { finish, folder, endpoint } = await stage();
    await mkdir(join(folder, "pictures"));
    const { code, stderr } = await finish(["generate", "an apple", "-o", path]);
    expect(code).toBe(3);
    expect(stderr).toMatch(message);
    expect(endpoint.requests).toEqual([]);
  });

  test("a device is refused even with --force", async () => {
    const { finish, endpoint } = await stage();
    const { code, stderr } = await finish(["generate", "an apple", "-o", "/dev/null", "--force"]);
    expect(code).toBe(3);
    expect(stderr).toContain("error:");
    expect(endpoint.requests).toEqual([]);
  });

  test("a reader of stdout that has gone loses nothing: the job is named", async () => {
    const { start } = await stage();
    const stdout = new Capture();
    stdout.destroy();
    const { code, stderr } = start(["generate", "an apple", "-o", "-"], { stdout });
    expect(await code).toBe(3);
    expect(stderr.text).toMatch(/layerdiffuse result \S+ -o FILE/);
  });

  test("a reader that does not want the path is no failure", async () => {
    const { start, folder } = await stage();
    const stdout = new Capture();
    stdout.destroy();
    expect(await start(["generate", "an apple"], { stdout }).code).toBe(0);
    expect(await readdir(folder)).toEqual(["output.png"]);
  });
});

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { deferred } from "../../../helpers/deferred.ts";
import { endless, picture, png, type Stage, stage } from "../fake-terminal.ts";

async function manifestOf({ folder }: Stage, name = "pictures"): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(folder, name, "manifest.jsonl"), "utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** The manifest's lines that say how a prompt ended. */
const endsOf = async (here: Stage) =>
  (await manifestOf(here)).filter(({ state }) => !["submitting", "submitted"].includes(String(state)));

const images = async ({ folder }: Stage, name = "pictures") =>
  (await readdir(join(folder, name))).filter((file) => file.endsWith(".png")).sort();

const failing = {
  worker: ({ input }: { input: Record<string, unknown> }) => (input["prompt"] === "bad" ? { error: "no" } : picture),
};

describe("layerdiffuse generate --batch", () => {
  test("makes one image per prompt, and leaves out blank lines and comments", async () => {
    const here = await stage();
    await writeFile(
      join(here.folder, "prompts.txt"),
      "\uFEFFa red apple\r\n\n  # a comment\na blue mug, high quality\n",
    );
    const { code, stdout, stderr } = await here.finish(["generate", "--batch", "prompts.txt", "-o", "pictures"]);
    expect(code).toBe(0);
    const files = await images(here);
    expect(files).toEqual([
      expect.stringMatching(/^0001-a-red-apple-[0-9a-f]{8}\.png$/),
      expect.stringMatching(/^0002-a-blue-mug-high-quality-[0-9a-f]{8}\.png$/),
    ]);
    expect(stdout.trim().split("\n").sort()).toEqual(files.map((file) => join("pictures", file)));
    expect(await readFile(join(here.folder, "pictures", String(files[0])))).toEqual(png);
    expect(stderr).toMatch(/^2 of 2 · made 000/m);
    expect(stderr).toMatch(/done in .*: 2 made, 0 there already, 0 failed; .*manifest\.jsonl\n$/);
  });

  test("tells in manifest.jsonl each prompt's seed, job and file", async () => {
    const here = await stage();
    await here.finish(["generate", "--batch", "-", "-o", "pictures", "--seed", "3"], { stdin: "a red apple\n" });
    const [file] = await images(here);
    const jobId = here.endpoint.jobs()[0]?.id;
    expect(await manifestOf(here)).toEqual([
      expect.objectContaining({ state: "submitting", line: 1, seed: 3 }),
      expect.objectContaining({ state: "submitted", line: 1, seed: 3, jobId }),
      expect.objectContaining({
        state: "made",
        position: 1,
        line: 1,
        prompt: "a red apple",
        seed: 3,
        jobId,
        file,
        width: 8,
        height: 8,
      }),
    ]);
  });

  test("passes on what the worker warns of, the shares of alpha and the cost", async () => {
    const warnings = [{ code: "no_transparency", message: "The image has no transparency." }];
    const alpha = { transparent: 0.5, partial: 0.125, opaque: 0.375, below_250: 0.6 };
    const here = await stage({ worker: () => ({ ...picture, warnings, alpha }) });
    const argv = ["generate", "--batch", "-", "-o", "pictures", "--price-per-second", "1000"];
    const { stderr } = await here.finish(argv, { stdin: "a red apple\n" });
    const [file] = await images(here);
    expect(stderr).toContain(`\nwarning: ${file}: The image has no transparency.\n`);
    expect(await endsOf(here)).toEqual([expect.objectContaining({ warnings, alpha, cost: expect.any(Number) })]);
    const quiet = await here.finish([...argv, "--force", "--quiet"], { stdin: "a red apple\n" });
    expect(quiet.stderr).toBe("");
  });

  test("takes JSON lines with the input's fields, over what the options say", async () => {
    const here = await stage();
    const stdin = '{"prompt":"a red apple","seed":7,"negativePrompt":"leaf"}\n{"prompt":"a mug"}';
    const { code } = await here.finish(
      ["generate", "--batch", "-", "-o", "pictures", "--seed", "1", "--concurrency", "1"],
      { stdin },
    );
    expect(code).toBe(0);
    expect(here.inputs()).toEqual([
      { prompt: "a red apple", seed: 7, negative_prompt: "leaf", response: { encoding: "base64" } },
      { prompt: "a mug", seed: 1, response: { encoding: "base64" } },
    ]);
  });

  test("does not make again what exists, and goes on with the rest", async () => {
    const here = await stage(failing);
    const argv = ["generate", "--batch", "-", "-o", "pictures"];
    const first = await here.finish(argv, { stdin: "one\nbad\n" });
    expect(first.code).toBe(20);
    const { code, stderr } = await here.finish(argv, { stdin: "one\nbetter\nthree\n" });
    expect(code).toBe(0);
    expect(stderr).toContain("2 made, 1 there already, 0 failed");
    expect(
      here
        .inputs()
        .map(({ prompt }) => prompt)
        .sort(),
    ).toEqual(["bad", "better", "one", "three"]);
    expect((await endsOf(here)).map(({ state }) => state)).toEqual(["made", "failed", "made", "made"]);
  });

  test("makes again with --force", async () => {
    const here = await stage();
    const argv = ["generate", "--batch", "-", "-o", "pictures"];
    await here.finish(argv, { stdin: "one\n" });
    expect((await here.finish([...argv, "--force"], { stdin: "one\n" })).code).toBe(0);
    expect(here.endpoint.jobs()).toHaveLength(2);
    expect(await images(here)).toHaveLength(1);
  });

  test("goes on after a prompt that fails, and its exit code tells", async () => {
    const here = await stage(failing);
    const { code, stderr } = await here.finish(["generate", "--batch", "-", "-o", "pictures"], {
      stdin: "# first\n\nbad\ngood\n",
    });
    expect(code).toBe(20);
    expect(stderr).toMatch(/failed: line 3 \("bad"\): Job .* no/);
    expect(stderr).toContain("error: 1 prompt of 2 failed. Run the same command again to retry them.");
    expect(await images(here)).toHaveLength(1);
    const jobId = expect.any(String);
    const error = { code: "job_failed", message: expect.any(String), jobId };
    expect((await endsOf(here)).find(({ position }) => position === 1)).toMatchObject({
      ...{ line: 3, prompt: "bad", state: "failed", jobId, error },
    });
  });

  test("stops at once where every prompt would fail", async () => {
    const here = await stage({ apiKey: "another" });
    const stdin = `${"apple\n".repeat(500)}`;
    const argv = ["generate", "--batch", "-", "-o", "pictures", "--concurrency", "2"];
    const { code, stderr } = await here.finish(argv, { stdin });
    expect(code).toBe(4);
    expect(stderr).toContain("The API key in RUNPOD_API_KEY is missing or wrong");
    expect(here.endpoint.requests.length).toBeLessThan(10);
  });

  test("keeps --concurrency jobs at work", async () => {
    let running = 0;
    let most = 0;
    const here = await stage({
      maxWorkers: 10,
      worker: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        return picture;
      },
    });
    const argv = ["generate", "--batch", "-", "-o", "pictures", "--concurrency", "3"];
    expect((await here.finish(argv, { stdin: "apple\n".repeat(20) })).code).toBe(0);
    expect(most).toBeLessThanOrEqual(3);
    expect(await images(here)).toHaveLength(20);
  });

  test("Ctrl-C while the list is read submits nothing", async () => {
    const here = await stage();
    const stdin = new PassThrough();
    stdin.write("one\n");
    const { code, interrupt } = here.start(["generate", "--batch", "-", "-o", "pictures"], { stdin });
    await expect.poll(() => stdin.readableLength).toBe(0);
    interrupt();
    expect(await code).toBe(130);
    expect(here.endpoint.requests).toEqual([]);
  });

  test("Ctrl-C cancels what runs, names each prompt, and the same command goes on from there", async () => {
    let isOpen = false;
    const here = await stage({
      worker: (job, context) => (isOpen || job.input["prompt"] === "one" ? picture : endless(job, context)),
      maxWorkers: 10,
    });
    const argv = ["generate", "--batch", "-", "-o", "pictures", "--concurrency", "3"];
    const stdin = "one\ntwo\nthree\nfour\nfive\n";
    const { stdout, stderr, code, interrupt } = here.start(argv, { stdin });
    await stdout.until(/0001-one/);
    await expect.poll(() => here.endpoint.jobs().filter(({ status }) => status === "IN_PROGRESS").length).toBe(3);
    interrupt();
    expect(await code).toBe(130);
    const cancelled = here.endpoint.jobs().filter(({ status }) => status !== "COMPLETED");
    expect(cancelled.map(({ status }) => status)).toEqual(["CANCELLED", "CANCELLED", "CANCELLED"]);
    expect(stderr.text).toMatch(/Ctrl-C: cancelling on the endpoint/);
    for (const { jobId, line, prompt } of (await endsOf(here)).slice(1)) {
      expect(cancelled.map(({ id }) => id)).toContain(jobId);
      expect(stderr.text).toContain(`Cancelled job ${jobId}: line ${line} ("${prompt}").\n`);
    }
    expect(stderr.text).toMatch(/\n1 of 5\. Run the same command again to go on from here\.\n$/);
    expect((await endsOf(here)).map(({ state }) => state)).toEqual(["made", "cancelled", "cancelled", "cancelled"]);
    isOpen = true;
    const again = await here.finish(argv, { stdin });
    expect(again.code).toBe(0);
    expect(again.stderr).toContain("4 made, 1 there already, 0 failed");
  });

  test("Ctrl-C leaves a job that is not cancelled to the next run, and says so", async () => {
    const { promise, resolve } = deferred();
    const here = await stage({ worker: () => promise.then(() => picture) });
    const argv = ["generate", "--batch", "-", "-o", "pictures"];
    const { code, stderr, interrupt } = here.start(argv, { stdin: "one\n" });
    await expect.poll(() => here.endpoint.jobs()[0]?.status).toBe("IN_PROGRESS");
    here.endpoint.faults.add({ operation: "cancel", respond: { status: 401 } });
    interrupt();
    expect(await code).toBe(130);
    const id = here.endpoint.jobs()[0]?.id;
    expect(stderr.text).toContain(`Job ${id} may still be running: line 1 ("one"). Its cancellation got no answer.`);
    expect(stderr.text).toContain(`layerdiffuse cancel ${id}`);
    resolve();
    expect((await here.finish(argv, { stdin: "one\n" })).code).toBe(0);
    expect(here.endpoint.jobs()).toHaveLength(1);
    expect(await images(here)).toHaveLength(1);
  });

  test("jobs that no worker takes in time are cancelled before the program ends", async () => {
    const here = await stage({ coldStart: 600_000 });
    const argv = ["generate", "--batch", "-", "-o", "pictures", "--queue-timeout", "1.5"];
    const { code, stderr } = await here.finish(argv, { stdin: "one\ntwo\n" });
    expect(code).toBe(20);
    expect(here.endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED", "CANCELLED"]);
    expect(stderr).toMatch(/failed: line 1 .*--queue-timeout \(1500 ms\)/);
  });

  test("--json gives the manifest's lines on stdout", async () => {
    const here = await stage(failing);
    const { stdout } = await here.finish(["generate", "--batch", "-", "-o", "pictures", "--json"], {
      stdin: "one\nbad\n",
    });
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.slice(0, 2)).toEqual((await endsOf(here)).map(({ time, ...line }) => line));
    expect(lines[2]).toEqual({ error: { code: "batch", message: expect.any(String) } });
  });

  test("a file that appears meanwhile is not overwritten, and the job is named", async () => {
    const { promise, resolve } = deferred();
    const here = await stage({ worker: () => promise.then(() => picture) });
    const argv = ["generate", "--batch", "-", "-o", "pictures"];
    const { fileName } = await import("../../../../src/cli/batch/file-name.ts");
    const { code, stderr } = here.start(argv, { stdin: "one\n" });
    const file = join(here.folder, "pictures", fileName(1, { prompt: "one" }));
    await expect.poll(() => here.endpoint.jobs().length).toBe(1);
    await writeFile(file, "mine");
    resolve();
    expect(await code).toBe(20);
    expect(await readFile(file, "utf8")).toBe("mine");
    const id = here.endpoint.jobs()[0]?.id;
    expect(stderr.text).toMatch(new RegExp(`failed: line 1 .*To fetch it: layerdiffuse result ${id} -o FILE\\n`));
    const [line] = await endsOf(here);
    expect(line?.["error"]).toMatchObject({ code: "output", jobId: here.endpoint.jobs()[0]?.id });
  });

  test("refuses a list with wrong lines before anything is sent, and names them all", async () => {
    const here = await stage();
    const list = '# mine\na red apple\n\n{"promt": "typo"}\n{"prompt":"a","steps":500}\n{"prompt":\n';
    await writeFile(join(here.folder, "prompts.txt"), list);
    const argv = ["generate", "--batch", "prompts.txt", "-o", "pictures"];
    for (let run = 0; run < 2; run++) {
      const { code, stderr } = await here.finish(argv);
      expect(code).toBe(2);
      expect(stderr).toContain("prompts.txt, line 4: prompt is required; promt is unknown; did you mean prompt?\n");
      expect(stderr).toContain("prompts.txt, line 5: steps must be a whole number from 1 to 100, got 500.\n");
      expect(stderr).toMatch(/prompts\.txt, line 6: starts with \{ but is not valid JSON/);
      expect(stderr).toContain("3 lines of the list must be corrected first. Nothing was sent.");
      expect(stderr).not.toContain("undefined");
      expect(stderr).not.toMatch(/again/);
    }
    const { stdout } = await here.finish([...argv, "--json"]);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ line }) => line)).toEqual([4, 5, 6, undefined]);
    expect(lines.map(({ error }) => error.code)).toEqual(Array.from({ length: 4 }, () => "invalid_input"));
    expect(here.endpoint.requests).toEqual([]);
    expect(await readdir(here.folder)).toEqual(["prompts.txt"]);
  });

  test("shows the first wrong lines of a wrong file, and how many more there are", async () => {
    const here = await stage();
    const { code, stderr } = await here.finish(["generate", "--batch", "-", "-o", "x"], { stdin: "{\n".repeat(500) });
    expect(code).toBe(2);
    expect(stderr.split("\n").length).toBeLessThan(30);
    expect(stderr).toContain("… and 480 more.");
  });

  test.each([
    ["UTF-16, as PowerShell writes it", Buffer.from("\uFEFFa red apple\r\na mug\r\n", "utf16le")],
    ["a JSON list over several lines", Buffer.from('[\n  "a red apple",\n  { "prompt": "a mug" }\n]\n')],
  ])("reads %s", async (_, bytes) => {
    const here = await stage();
    await writeFile(join(here.folder, "prompts"), bytes);
    const { code } = await here.finish(["generate", "--batch", "prompts", "-o", "pictures", "--concurrency", "1"]);
    expect(code).toBe(0);
    expect(here.inputs().map(({ prompt }) => prompt)).toEqual(["a red apple", "a mug"]);
  });

  test.each([
    ["Windows-1252", Buffer.from("a red apple\nein \xc4pfel\n", "latin1"), "prompts, line 2: this is not UTF-8"],
    ["an image", png, "prompts"],
  ])("refuses %s, and sends nothing", async (_, bytes, message) => {
    const here = await stage();
    await writeFile(join(here.folder, "prompts"), bytes);
    const { code, stderr } = await here.finish(["generate", "--batch", "prompts", "-o", "pictures"]);
    expect(code).toBe(2);
    expect(stderr).toContain(`error: ${message}`);
    expect(here.endpoint.requests).toEqual([]);
  });

  test("refuses a folder where another run is at work", async () => {
    const here = await stage();
    const pictures = join(here.folder, "pictures");
    await mkdir(pictures);
    // A process that runs for sure, and is not this one.
    await writeFile(join(pictures, ".layerdiffuse.lock"), JSON.stringify({ process: process.ppid, host: hostname() }));
    const { code, stderr } = await here.finish(["generate", "--batch", "-", "-o", "pictures"], { stdin: "one\n" });
    expect(code).toBe(3);
    expect(stderr).toMatch(/Another run is using this folder \(process \d+ on .*\)/);
    expect(here.endpoint.requests).toEqual([]);
  });

  test("leaves no lock behind", async () => {
    const here = await stage();
    await here.finish(["generate", "--batch", "-", "-o", "pictures"], { stdin: "one\n" });
    expect((await readdir(join(here.folder, "pictures"))).sort()).toEqual([(await images(here))[0], "manifest.jsonl"]);
  });

  test("does not make again what stands on another line of an edited list", async () => {
    const here = await stage();
    const argv = ["generate", "--batch", "-", "-o", "pictures"];
    await here.finish(argv, { stdin: "one\ntwo\n" });
    const { code, stderr } = await here.finish(argv, { stdin: "zero\ntwo\none\n" });
    expect(code).toBe(0);
    expect(stderr).toContain("1 made, 2 there already, 0 failed");
    expect(
      here
        .inputs()
        .map(({ prompt }) => prompt)
        .sort(),
    ).toEqual(["one", "two", "zero"]);
  });

  test.each([
    ["no folder", ["--batch", "-"], 2, /Name their folder/],
    ["a prompt beside it", ["a", "--batch", "-", "-o", "x"], 2, /not both/],
    [
      "a list that does not exist",
      ["--batch", "none.txt", "-o", "x"],
      2,
      /Cannot read the prompts in none\.txt: it does not exist/,
    ],
    ["a folder for a list", ["--batch", ".", "-o", "x"], 2, /it is a folder/],
    ["a file for a folder", ["--batch", "-", "-o", "file"], 3, /it is a file/],
    ["an empty list", ["--batch", "file", "-o", "x"], 2, /file holds no prompt/],
  ])("refuses %s", async (_, argv, exit, message) => {
    const here = await stage();
    await writeFile(join(here.folder, "file"), "");
    const { code, stderr } = await here.finish(["generate", ...argv], { stdin: "one\n" });
    expect(code).toBe(exit);
    expect(stderr).toMatch(message);
    expect(here.endpoint.requests).toEqual([]);
  });
});

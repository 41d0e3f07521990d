import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { fingerprint } from "../../../../src/cli/batch/file-name.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { endless, picture, type Stage, stage } from "../fake-terminal.ts";
import { launch } from "../launch.ts";

const argv = ["generate", "--batch", "prompts.txt", "-o", "images"];

async function writeList({ folder }: Stage, ...lines: string[]): Promise<void> {
  await writeFile(join(folder, "prompts.txt"), `${lines.join("\n")}\n`);
}

async function manifestOf({ folder }: Stage): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(folder, "images", "manifest.jsonl"), "utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** The last state of each prompt in the manifest, with the id of its job. */
async function statesOf(here: Stage): Promise<Record<string, string>> {
  const lines = await manifestOf(here);
  return Object.fromEntries(lines.map(({ position, prompt, state }) => [`${position} ${prompt}`, String(state)]));
}

const images = async ({ folder }: Stage) =>
  (await readdir(join(folder, "images"))).filter((file) => file.endsWith(".png")).sort();

/** The submitted prompts, in the order of the alphabet: what is submitted at once arrives in any order. */
const promptsOf = (here: Stage) =>
  here
    .inputs()
    .map(({ prompt }) => String(prompt))
    .sort();

/** Pauses between tries take no time. */
function withoutPauses(): void {
  vi.spyOn(Math, "random").mockReturnValue(0);
  onTestFinished(() => void vi.restoreAllMocks());
}

/** As an earlier run left it that was killed: a job on the endpoint, and its line in the manifest. */
async function earlierJob({ env, folder }: Stage, position: number, input: { prompt: string }, more: object = {}) {
  const response = await fetch(`${env["RUNPOD_BASE_URL"]}/local/run`, {
    method: "POST",
    headers: { authorization: "Bearer local", "content-type": "application/json" },
    body: JSON.stringify({ input }),
  });
  const { id: jobId } = (await response.json()) as { id: string };
  const endpoint = `${env["RUNPOD_BASE_URL"]}/local`;
  const { prompt } = input;
  const line = { position, line: position, prompt, key: fingerprint(input), endpoint, state: "submitted", jobId };
  await mkdir(join(folder, "images"), { recursive: true });
  const file = join(folder, "images", "manifest.jsonl");
  await writeFile(file, `${JSON.stringify({ ...line, time: new Date().toISOString(), ...more })}\n`, { flag: "a" });
  return jobId;
}

describe("a job of an earlier run", () => {
  test("is taken up after the network dropped, and not paid for again", async () => {
    withoutPauses();
    const { promise, resolve } = deferred();
    const here = await stage({ worker: () => promise.then(() => picture), maxWorkers: 3 });
    await writeList(here, "one", "two", "three");
    here.endpoint.faults.add({
      operation: ["status", "status-sync"],
      reset: true,
      times: Number.POSITIVE_INFINITY,
    });
    const first = await here.finish(argv);
    expect(first.code).toBe(20);
    const jobs = here.endpoint.jobs();
    for (const { id } of jobs) expect(first.stderr).toContain(`Run the same command again to take up job ${id}.`);
    expect(first.stderr).toContain("It takes up 3 jobs that may still run or hold an image.");
    expect(await statesOf(here)).toEqual({ "1 one": "open", "2 two": "open", "3 three": "open" });
    here.endpoint.faults.clear();
    resolve();
    const { code, stderr } = await here.finish(argv);
    expect(code).toBe(0);
    expect(stderr).toContain("taking up 3 jobs of an earlier run");
    expect(stderr).toContain("3 made, 0 there already, 0 failed");
    expect(here.endpoint.jobs()).toHaveLength(3);
    const lines = await manifestOf(here);
    const made = lines.filter(({ state }) => state === "made");
    expect(made.map(({ jobId }) => jobId).sort()).toEqual(jobs.map(({ id }) => id).sort());
    // The seed that was drawn is known to the later run too, though the worker does not report it.
    for (const { jobId, seed } of made) {
      expect(lines.find((line) => line["state"] === "submitted" && line["jobId"] === jobId)?.["seed"]).toBe(seed);
      expect(seed).toEqual(expect.any(Number));
    }
  });

  test("is taken up after the process was killed", async () => {
    const { promise, resolve } = deferred();
    const here = await stage({ worker: () => promise.then(() => picture), maxWorkers: 3 });
    await writeList(here, "one", "two", "three");
    const { child, exit } = launch(argv, here.folder, here.env);
    const submitted = async () =>
      (await readFile(join(here.folder, "images", "manifest.jsonl"), "utf8")).match(/"submitted"/g);
    await expect.poll(() => submitted().catch(() => null), { timeout: 20_000 }).toHaveLength(3);
    child.kill("SIGKILL");
    await exit;
    resolve();
    const { code, stderr } = await here.finish(argv);
    expect(code, stderr).toBe(0);
    expect(here.endpoint.jobs()).toHaveLength(3);
    expect(await images(here)).toHaveLength(3);
  });

  test.each(["FAILED", "CANCELLED"])("that has %s is submitted again", async (end) => {
    let isGood = false;
    const here = await stage({
      worker: (job, context) => (isGood ? picture : end === "FAILED" ? { error: "no" } : endless(job, context)),
    });
    await writeList(here, "one");
    const id = await earlierJob(here, 1, { prompt: "one" });
    if (end === "CANCELLED") {
      const headers = { authorization: "Bearer local" };
      await fetch(`${here.env["RUNPOD_BASE_URL"]}/local/cancel/${id}`, { method: "POST", headers });
    }
    await expect.poll(() => here.endpoint.jobs()[0]?.status).toBe(end);
    isGood = true;
    const { code, stderr } = await here.finish(argv);
    expect(code).toBe(0);
    expect(stderr).toContain('submitting line 1 ("one") again: Job ');
    expect(here.endpoint.jobs()).toHaveLength(2);
    expect(await statesOf(here)).toEqual({ "1 one": "made" });
  });

  test("that has expired is submitted again", async () => {
    const here = await stage();
    await writeList(here, "one");
    await earlierJob(here, 1, { prompt: "one" }, { jobId: "gone-e1" });
    const { code, stderr } = await here.finish(argv);
    expect(code).toBe(0);
    expect(stderr).toContain("Job gone-e1 is gone");
    expect(promptsOf(here)).toEqual(["one", "one"]);
  });

  test("goes to its prompt where the list was sorted and edited", async () => {
    const named = new Map<string, string>();
    const here = await stage({
      worker: ({ input, id }) => {
        named.set(id, String(input["prompt"]));
        return picture;
      },
    });
    await earlierJob(here, 1, { prompt: "one" });
    await earlierJob(here, 2, { prompt: "two" });
    await earlierJob(here, 3, { prompt: "three" });
    await writeList(here, "three", "# new", "another one", "one");
    const { code, stderr } = await here.finish(argv);
    expect(code).toBe(0);
    expect(promptsOf(here)).toEqual(["another one", "one", "three", "two"]);
    const made = (await manifestOf(here)).filter(({ state }) => state === "made");
    for (const { prompt, jobId } of made) expect(named.get(String(jobId))).toBe(prompt);
    expect(made.map(({ line }) => line).sort()).toEqual([1, 3, 4]);
    // Nobody asks for it any more, but it was paid for.
    expect(stderr).toMatch(/Job \S+ \("two"\) is left alone, .* layerdiffuse result \S+ -o FILE/);
  });

  test("serves one line only, where the same prompt stands twice", async () => {
    const here = await stage();
    await earlierJob(here, 1, { prompt: "one" });
    await writeList(here, "zero", "one", "one");
    expect((await here.finish(argv)).code).toBe(0);
    const again = await here.finish(argv);
    expect(again.stderr).toContain("0 made, 3 there already, 0 failed");
    expect(promptsOf(here)).toEqual(["one", "one", "zero"]);
    await writeList(here, "zero", "one", "one", "one");
    await here.finish(argv);
    expect(promptsOf(here)).toEqual(["one", "one", "one", "zero"]);
  });

  test("of other settings or another endpoint is not used", async () => {
    const here = await stage();
    const endpoint = "http://127.0.0.1:1/v2/another";
    const id = await earlierJob(here, 1, { prompt: "one" }, { endpoint });
    await writeList(here, "one", '{"prompt":"two","steps":5}');
    await earlierJob(here, 2, { prompt: "two" });
    const { code, stderr } = await here.finish(argv);
    expect(code).toBe(0);
    expect(promptsOf(here)).toEqual(["one", "one", "two", "two"]);
    expect(stderr).toContain(
      `Job ${id} ("one") is left alone, because it is on another endpoint. To fetch its image: layerdiffuse result ${id} -o FILE --endpoint another --base-url http://127.0.0.1:1/v2`,
    );
  });

  test("is no job any more once its image is there, however it came", async () => {
    const here = await stage();
    const id = await earlierJob(here, 1, { prompt: "one" });
    await writeList(here, "one");
    const { fileName } = await import("../../../../src/cli/batch/file-name.ts");
    await here.finish(["result", id, "-o", join("images", fileName(1, { prompt: "one" }))]);
    const { code, stderr } = await here.finish(argv);
    expect(code).toBe(0);
    expect(stderr).toContain("0 made, 1 there already, 0 failed");
    expect(promptsOf(here)).toEqual(["one"]);
  });

  test("is cancelled by Ctrl-C too, even before its turn has come", async () => {
    const here = await stage({ worker: endless });
    await earlierJob(here, 1, { prompt: "one" });
    await earlierJob(here, 2, { prompt: "two" });
    await writeList(here, "one", "two");
    const { code, stderr, interrupt } = here.start([...argv, "--concurrency", "1"]);
    await stderr.until(/taking up 2 jobs/);
    await expect.poll(() => here.endpoint.requests.some(({ operation }) => operation?.startsWith("status"))).toBe(true);
    interrupt("SIGTERM");
    expect(await code).toBe(143);
    expect(here.endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED", "CANCELLED"]);
    expect(stderr.text).toMatch(/Cancelled job \S+: line 1 \("one"\)\.\nCancelled job \S+: line 2 \("two"\)\./);
    expect(await statesOf(here)).toEqual({ "1 one": "cancelled", "2 two": "cancelled" });
  });
});

describe("a submission without a clear answer", () => {
  test("is not sent again without --resubmit-unknown, in no later run", async () => {
    const here = await stage();
    await writeList(here, "# mine", "one", "two");
    here.endpoint.faults.add({ operation: "run", reset: true, when: "after" });
    const first = await here.finish([...argv, "--concurrency", "1"]);
    expect(first.code).toBe(20);
    expect(first.stderr).toMatch(/The file of its image is images\/0001-one-\w+\.png\.\n/);
    expect(await statesOf(here)).toEqual({ "1 one": "unknown", "2 two": "made" });
    for (let run = 0; run < 2; run++) {
      const { code, stderr } = await here.finish(argv);
      expect(code).toBe(20);
      expect(stderr).toMatch(/failed: line 2 \("one"\): An earlier submission got no clear answer/);
      expect(stderr).toMatch(/The file of its image is images\/0001-one-\w+\.png\.\n/);
      expect(stderr).toMatch(/layerdiffuse result ID -o FILE\. .*--resubmit-unknown/);
      expect(stderr).not.toContain("Run the same command again");
    }
    expect(promptsOf(here)).toEqual(["one", "two"]);
    const { code } = await here.finish([...argv, "--resubmit-unknown"]);
    expect(code).toBe(0);
    expect(promptsOf(here)).toEqual(["one", "one", "two"]);
    expect(await statesOf(here)).toEqual({ "1 one": "made", "2 two": "made" });
  });

  test("is what a run left that was killed while it submitted", async () => {
    const here = await stage();
    await writeList(here, "one", "two");
    here.endpoint.faults.add({ operation: "run", hang: true, when: "after", times: 1 });
    const { child, exit } = launch([...argv, "--concurrency", "1"], here.folder, here.env);
    await expect.poll(() => here.endpoint.jobs().length, { timeout: 20_000 }).toBe(1);
    child.kill("SIGKILL");
    await exit;
    expect(await statesOf(here)).toEqual({ "1 one": "submitting" });
    const { code, stdout } = await here.finish([...argv, "--json"]);
    expect(code).toBe(20);
    const [line] = stdout.split("\n").map((each) => JSON.parse(each || "{}"));
    expect(line).toMatchObject({ line: 1, prompt: "one", state: "unknown", error: { code: "submission_unknown" } });
    expect(promptsOf(here)).toEqual(["one", "two"]);
  });

  test("that never arrived is sent by the next run", async () => {
    withoutPauses();
    const here = await stage();
    await writeList(here, "one");
    here.endpoint.faults.add({ operation: "run", respond: { status: 400 } });
    expect((await here.finish(argv)).code).toBe(20);
    expect(await statesOf(here)).toEqual({ "1 one": "failed" });
    expect((await here.finish(argv)).code).toBe(0);
    expect(await images(here)).toHaveLength(1);
  });
});

describe("the end of a batch", () => {
  test("promises nothing of a prompt that the worker refused", async () => {
    const error = JSON.stringify({
      status: "error",
      message: "There is no such LoRA.",
      code: "invalid",
      field: "loras",
    });
    const here = await stage({ worker: ({ input }) => (input["prompt"] === "bad" ? { error } : { error: "no" }) });
    await writeList(here, "bad", "unlucky");
    const { stderr } = await here.finish(argv);
    expect(stderr).toContain(
      "2 prompts of 2 failed. Run the same command again to retry 1. The worker refused the input of 1 prompt: correct it first.\n",
    );
  });

  test("names the command for a job that an earlier version of the program left", async () => {
    const here = await stage();
    await writeList(here, "one");
    await mkdir(join(here.folder, "images"));
    const old = { position: 1, prompt: "one", error: { code: "connection", message: "gone", jobId: "job-1" } };
    await writeFile(join(here.folder, "images", "manifest.jsonl"), `${JSON.stringify(old)}\n`);
    const { code, stderr } = await here.finish(argv);
    expect(code).toBe(20);
    expect(stderr).toMatch(/left job job-1, .*: layerdiffuse result job-1 -o images\/0001-one-\w+\.png\./);
    expect(here.endpoint.requests).toEqual([]);
  });

  test("says what all of it cost, failed jobs included, to the last digit", async () => {
    const here = await stage({ worker: ({ input }) => (input["prompt"] === "bad" ? { error: "no" } : picture) });
    const edit = (body: unknown) =>
      /"(COMPLETED|FAILED)"/.test(JSON.stringify(body)) ? { ...(body as object), executionTime: 1234 } : body;
    here.endpoint.faults.add({ operation: ["status", "status-sync"], edit, times: Number.POSITIVE_INFINITY });
    await writeList(here, "one", "bad", "two");
    const { stderr } = await here.finish([...argv, "--price-per-second", "0.00031"]);
    expect(stderr).toContain("2 made, 0 there already, 1 failed, cost $0.00114762;");
  });
});

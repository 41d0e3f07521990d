import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { readPng } from "../../src/image/png.ts";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import { deferred } from "../helpers/deferred.ts";
import { picture } from "../helpers/local.ts";
import { newFolder, type Program, startNode } from "../helpers/programs.ts";

const examples = fileURLToPath(new URL("../../examples/", import.meta.url));
const serveApp = fileURLToPath(new URL("../helpers/serve-app.ts", import.meta.url));

interface Scene {
  endpoint: LocalEndpoint;
  /** An empty folder, where the example runs. */
  folder: string;
  /** Starts an example. */
  start(name: string, more?: Record<string, string>): Program;
  /** Serves what an example exports, and answers its address. */
  serve(name: string, exported: string, more?: Record<string, string>): Promise<string>;
  /** Runs an example to its end, which must be a good one; answers its stdout. */
  run(name: string): Promise<string>;
  /** The PNG an example wrote. */
  png(name: string): ReturnType<typeof readPng>;
}

/** A local endpoint on a random port, and a folder to run examples in. */
async function scene(options: LocalEndpointOptions = {}): Promise<Scene> {
  const endpoint = createLocalEndpoint(options);
  onTestFinished(() => endpoint.close());
  const env = {
    RUNPOD_BASE_URL: await endpoint.listen(),
    RUNPOD_ENDPOINT_ID: "local",
    RUNPOD_API_KEY: "local",
  };
  const folder = newFolder();
  const node = (file: string, more: Record<string, string>, ...values: string[]) => {
    const program = startNode(file, { cwd: folder, env: { ...env, ...more } }, ...values);
    onTestFinished(async () => {
      program.child.kill("SIGKILL");
      await program.ended;
    });
    return program;
  };
  const start = (name: string, more = {}) => node(join(examples, name), more);
  return {
    endpoint,
    folder,
    start,
    serve: async (name, exported, more = {}) => {
      const said = await node(serveApp, more, join(examples, name), exported).said("Serving at");
      return /Serving at (\S+)/.exec(said)?.[1] ?? "";
    },
    run: async (name) => {
      const { code, stdout, stderr } = await start(name).ended;
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return stdout;
    },
    png: (name) => readPng(new Uint8Array(readFileSync(join(folder, name)))),
  };
}

/** A worker that holds its job until it is let go, or the job cancelled. */
function heldWorker() {
  const started = deferred();
  const letGo = deferred();
  const worker: LocalEndpointOptions["worker"] = async (_job, { signal }) => {
    started.resolve();
    const cancelled = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await Promise.race([letGo.promise, cancelled]);
    return picture;
  };
  return { worker, started: started.promise, letGo: letGo.resolve };
}

/** Expects a PNG with transparency. */
async function expectPicture(response: Response): Promise<void> {
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "image/png"]);
  expect(readPng(new Uint8Array(await response.arrayBuffer()))).toMatchObject({ hasAlpha: true });
}

/** Resolves once `isSo`, which another process brings about. */
async function until(isSo: () => boolean): Promise<void> {
  await vi.waitUntil(isSo, { timeout: 20_000, interval: 5 });
}

test("every example of one file has its test here", () => {
  const tests = readFileSync(fileURLToPath(import.meta.url), "utf8");
  const programs = readdirSync(examples).filter((name) => name.endsWith(".ts"));
  const untested = programs.filter((name) => !tests.includes(`"${name}"`));
  expect(untested).toEqual([]);
});

describe("01-generate", () => {
  test("saves a transparent PNG of a megapixel and says what it is", async () => {
    const { run, png } = await scene();
    expect(await run("01-generate.ts")).toMatch(/^output\.png: 1024×1024, alpha: true, seed \d+\n$/);
    expect(png("output.png")).toMatchObject({ width: 1024, height: 1024, hasAlpha: true });
  });
});

describe("02-progress", () => {
  test("prints the phases in order, with the worker's steps", async () => {
    // Polls are not held here, so that the example sees the step soon; the job ends once it has.
    const local = await scene({
      variants: { statusSync: "405" },
      worker: async (_job, { progress }) => {
        progress({ step: 7, steps: 20 });
        const before = local.endpoint.requests.length;
        await until(() => local.endpoint.requests.length > before + 1);
        return picture;
      },
    });
    const lines = (await local.run("02-progress.ts")).trim().split("\n");
    const phases = lines.map((line) => line.replace(/^[\d.]+ s: /, ""));
    expect([...new Set(phases)]).toEqual(
      expect.arrayContaining(["submitting", "running, step 7 of 20", "decoding", "done"]),
    );
    expect(phases.indexOf("submitting")).toBe(0);
    expect(phases.slice(-2)).toEqual(["decoding", "done"]);
    expect(local.png("output.png").hasAlpha).toBe(true);
  });
});

describe("03-many", () => {
  test("saves what succeeds and names what fails", async () => {
    const local = await scene({
      worker: ({ input }) => (String(input["prompt"]).includes("banana") ? { error: "no bananas today" } : picture),
    });
    const lines = (await local.run("03-many.ts")).trim().split("\n").sort();
    expect(lines).toEqual([
      "0.png: a red apple",
      "2.png: a bunch of grapes",
      expect.stringMatching(/^failed: a yellow banana: JobFailedError: .*no bananas today/),
    ]);
    expect(readdirSync(local.folder).sort()).toEqual(["0.png", "2.png"]);
    expect([local.png("0.png").hasAlpha, local.png("2.png").hasAlpha]).toEqual([true, true]);
  });
});

describe("04-abort-and-timeout", () => {
  test("saves the picture when nothing stops it", async () => {
    const local = await scene();
    expect(await local.run("04-abort-and-timeout.ts")).toBe("");
    expect(local.png("output.png").hasAlpha).toBe(true);
  });

  test("on Ctrl-C says so, and the job is cancelled on the endpoint", async () => {
    const { worker, started } = heldWorker();
    const local = await scene({ worker });
    const program = local.start("04-abort-and-timeout.ts");
    await started;
    program.child.kill("SIGINT");
    expect(await program.ended).toMatchObject({ code: 0, stdout: "Stopped.\n" });
    expect(local.endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED"]);
    expect(existsSync(join(local.folder, "output.png"))).toBe(false);
  });
});

describe("05-take-up-again", () => {
  test("goes on after a crash with the job it had, submitted once", async () => {
    const { worker, started, letGo } = heldWorker();
    const local = await scene({ worker });
    const first = local.start("05-take-up-again.ts");
    const [said] = await Promise.all([first.said("Submitted"), started]);
    first.child.kill("SIGKILL");
    await first.ended;

    letGo();
    const id = local.endpoint.jobs()[0]?.id;
    expect(said).toBe(`Submitted: ${id}\n`);
    expect(await local.run("05-take-up-again.ts")).toBe(`Taken up again: ${id}\n`);
    expect(local.png("output.png").hasAlpha).toBe(true);
    expect(local.endpoint.jobs()).toHaveLength(1);
    expect(existsSync(join(local.folder, "job.txt"))).toBe(false);
  });
});

/** What all three servers must do, by their answer to a picture's request. */
function describePictureServer(name: string, start: (local: Scene) => Promise<(prompt: string) => URL | Request>) {
  describe(name, () => {
    test("answers with the PNG", async () => {
      const ask = await start(await scene());
      await expectPicture(await fetch(ask("a red apple")));
    });

    test("answers 400 to a blank prompt, and asks nothing of the endpoint", async () => {
      const local = await scene();
      const ask = await start(local);
      const response = await fetch(ask(" "));
      expect([response.status, await response.json()]).toEqual([
        400,
        { error: "Invalid input. prompt: must not be blank. Nothing was sent." },
      ]);
      expect(local.endpoint.requests).toEqual([]);
    });

    test("answers 502 without details when the worker fails", async () => {
      const ask = await start(await scene({ worker: () => ({ error: "secret host 10.0.0.1" }) }));
      const response = await fetch(ask("a red apple"));
      expect([response.status, await response.json()]).toEqual([502, { error: "No image could be generated." }]);
    });

    test("cancels the job of a visitor who leaves", async () => {
      const { worker, started } = heldWorker();
      const local = await scene({ worker });
      const ask = await start(local);
      const left = new AbortController();
      const answer = fetch(ask("a red apple"), { signal: left.signal });
      await started;
      left.abort();
      await expect(answer).rejects.toThrow();
      await until(() => local.endpoint.jobs()[0]?.status === "CANCELLED");
    });
  });
}

describePictureServer("06-hono", async (local) => {
  const url = await local.serve("06-hono.ts", "default");
  return (prompt) => new URL(`/picture?${new URLSearchParams({ prompt })}`, url);
});

describePictureServer("07-express", async ({ start }) => {
  const program = start("07-express.ts", { PORT: "0" });
  const port = /port: (\d+)/.exec(await program.said("port: "))?.[1];
  return (prompt) => new URL(`http://127.0.0.1:${port}/picture?${new URLSearchParams({ prompt })}`);
});

describePictureServer("08-next, by GET", async (local) => {
  const url = await local.serve("08-next.ts", "GET");
  return (prompt) => new URL(`/api/picture?${new URLSearchParams({ prompt })}`, url);
});

describePictureServer("08-next, by POST", async (local) => {
  const url = await local.serve("08-next.ts", "POST");
  return (prompt) => new Request(`${url}/api/picture`, { method: "POST", body: JSON.stringify({ prompt }) });
});

describe("09-webhook", () => {
  const secret = "a secret & more";

  test("answers with the job's id at once, and saves the picture when the endpoint calls", async () => {
    const { worker, letGo } = heldWorker();
    const local = await scene({ worker });
    const url = await local.serve("09-webhook.ts", "default", { WEBHOOK_SECRET: secret });
    const body = JSON.stringify({ prompt: "a red apple" });
    const response = await fetch(`${url}/pictures`, { method: "POST", body });
    const id = local.endpoint.jobs()[0]?.id;
    expect([response.status, await response.json()]).toEqual([202, { id }]);
    expect(readdirSync(local.folder)).toEqual([]);
    letGo();
    await until(() => readdirSync(local.folder).length > 0);
    expect(readdirSync(local.folder)).toEqual([`${id}.png`]);
    // The file is there before all of its bytes are.
    const saved = () => expect(local.png(`${id}.png`)).toMatchObject({ hasAlpha: true });
    await vi.waitFor(saved, { timeout: 20_000, interval: 5 });
  });

  test("answers 401 without the secret and 400 to what is no job", async () => {
    const local = await scene();
    const url = await local.serve("09-webhook.ts", "default", { WEBHOOK_SECRET: secret });
    const post = async (query: string, body: string) =>
      (await fetch(`${url}/hook?${query}`, { method: "POST", body })).status;
    const job = JSON.stringify({ id: "a", status: "CANCELLED" });
    expect(await post("", job)).toBe(401);
    expect(await post("secret=wrong", job)).toBe(401);
    expect(await post(new URLSearchParams({ secret }).toString(), "<html>")).toBe(400);
  });
});

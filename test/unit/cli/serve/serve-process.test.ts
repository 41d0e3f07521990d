import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPng } from "../../../../src/image/png.ts";
import { LayerDiffuse } from "../../../../src/index.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { snippetsOf } from "../../../helpers/markdown.ts";
import { startShell } from "../../../helpers/programs.ts";
import { endless, picture, png, stage, temporaryFolder } from "../fake-terminal.ts";
import { launch, type Running } from "../launch.ts";

const token = "alice-token-0123456789";
const LAYERDIFFUSE_TOKENS = `alice:${token}`;
const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
const asking = { method: "POST", headers, body: '{"prompt":"a red apple"}' };

/** The server as a process of its own. */
async function serveAlone(argv: string[], env: Record<string, string>): Promise<Running & { url: string }> {
  const running = launch(["serve", "--port", "0", ...argv], await temporaryFolder(), env);
  await running.until(/\n/, "stdout");
  return { ...running, url: running.stdout().toString().trim() };
}

test("SIGTERM lets a held request end, then ends the process with 0", async () => {
  const gate = deferred();
  const begun = deferred();
  const { env } = await stage({
    worker: async () => {
      begun.resolve();
      await gate.promise;
      return picture;
    },
  });
  const { child, url, until, exit } = await serveAlone(["--stop-timeout", "60"], { ...env, LAYERDIFFUSE_TOKENS });
  const held = fetch(`${url}/alpha/v1/txt2img`, asking);
  await begun.promise;
  child.kill("SIGTERM");
  await until(/Stopping/);
  gate.resolve();
  expect((await held).status).toBe(200);
  expect(await exit).toBe(0);
});

test("SIGTERM lets go of what does not end in time: its caller is told where the job is, and the job goes on", async () => {
  const begun = deferred();
  const { env, endpoint } = await stage({
    worker: (...given) => {
      begun.resolve();
      return endless(...given);
    },
  });
  const { child, url, exit, stderr } = await serveAlone(["--stop-timeout", "0.1"], { ...env, LAYERDIFFUSE_TOKENS });
  const held = fetch(`${url}/alpha/v1/txt2img`, asking);
  await begun.promise;
  child.kill("SIGTERM");
  const { status, headers } = await held;
  expect([status, headers.get("location")]).toEqual([202, expect.stringMatching(/^\/alpha\/v1\/job\//)]);
  expect(await exit, stderr()).toBe(0);
  expect(endpoint.jobs().map(({ status }) => status)).toEqual(["IN_PROGRESS"]);
});

test("SIGTERM: a request on an idle connection, and one on a new connection, is told that nothing was submitted", async () => {
  const { env, endpoint } = await stage();
  const { child, url, until, exit } = await serveAlone([], { ...env, LAYERDIFFUSE_TOKENS });
  const idle = connect(Number(new URL(url).port), "127.0.0.1").setEncoding("utf8");
  const said = async (pattern: RegExp) => {
    let heard = "";
    idle.on("data", (text) => {
      heard += text;
    });
    while (!pattern.test(heard)) await once(idle, "data");
    return heard;
  };
  idle.write("GET /healthz HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await said(/"ok"/);
  child.kill("SIGTERM");
  await until(/Stopping/);
  const head = [
    "POST /run HTTP/1.1",
    "Host: a.test",
    `Authorization: Bearer ${token}`,
    "Content-Type: application/json",
  ];
  const answered = said(/"submitted":"no"\}/);
  idle.write(`${head.join("\r\n")}\r\nContent-Length: 2\r\n\r\n{}`);
  const fresh = await fetch(`${url}/alpha/v1/txt2img`, asking);
  expect([fresh.status, await fresh.json()]).toMatchObject([503, { submitted: "no" }]);
  expect(await answered).toMatch(/^HTTP\/1\.1 503 /);
  expect(await exit).toBe(0);
  expect(endpoint.jobs()).toEqual([]);
});

test("a second Ctrl-C ends the process at once", async () => {
  const begun = deferred();
  const worker = async () => {
    begun.resolve();
    return await new Promise(() => {});
  };
  const { env } = await stage({ worker });
  const { child, url, until, exit } = await serveAlone(["--stop-timeout", "600"], { ...env, LAYERDIFFUSE_TOKENS });
  const held = fetch(`${url}/alpha/v1/txt2img`, asking).catch(() => {});
  await begun.promise;
  child.kill("SIGINT");
  await until(/Stopping/);
  child.kill("SIGINT");
  expect(await exit).toBe(130);
  await held;
});

test("a rolling restart behind a balancer: each image arrives, each job is made once", async () => {
  const started = deferred();
  const gate = deferred();
  const count = 3;
  let begun = 0;
  const { env, endpoint } = await stage({
    maxWorkers: count,
    worker: async () => {
      if (++begun === count) started.resolve();
      await gate.promise;
      return picture;
    },
  });
  const start = () => serveAlone(["--stop-timeout", "2"], { ...env, LAYERDIFFUSE_TOKENS });
  const [first, second] = [await start(), await start()];
  // As nginx does: to the next one where the first takes no connection, and for reads where it answers 503.
  const balanced: typeof fetch = async (input, init) => {
    const ask = ({ url }: { url: string }) => fetch(`${url}${String(input).replace("https://app.test", "")}`, init);
    const answer = await ask(first).catch((error: Error) => {
      if (!/ECONNREFUSED/.test(String(error.cause))) throw error;
      return undefined;
    });
    const isRead = init?.method === undefined || init.method === "GET";
    return answer === undefined || (answer.status === 503 && isRead) ? await ask(second) : answer;
  };
  const client = new LayerDiffuse({
    proxyUrl: "https://app.test",
    fetch: balanced,
    headers: { authorization: `Bearer ${token}` },
  });
  const images = Array.from({ length: count }, () => client.generate("a red apple"));
  await started.promise;
  first.child.kill("SIGTERM");
  await first.until(/Stopping/);
  const late = client.generate("a green apple");
  expect(await first.exit).toBe(0);
  gate.resolve();
  for (const image of [...images, late]) expect(Buffer.from((await image).bytes)).toEqual(png);
  expect(endpoint.jobs().map(({ status }) => status)).toEqual(Array(count + 1).fill("COMPLETED"));
  second.child.kill("SIGTERM");
  expect(await second.exit).toBe(0);
});

test("a connection that is kept open does not keep the process", async () => {
  const { child, url, exit } = await serveAlone(["--local"], {});
  // The client keeps the connection for more.
  await (await fetch(`${url}/healthz`)).text();
  child.kill("SIGINT");
  expect(await exit).toBe(0);
});

test("the curl calls of docs/cli.md do what the page says", async () => {
  const { child, url, exit } = await serveAlone(["--local"], { LAYERDIFFUSE_TOKENS });
  const [snippet] = snippetsOf("docs/cli.md").filter(({ code }) => code.includes("/healthz"));
  const folder = await temporaryFolder();
  const code = snippet?.code.replaceAll("http://127.0.0.1:8787", url) ?? "exit 1";
  const { ended } = startShell(code, { cwd: folder, env: { TOKEN: token } });
  const { code: end, stdout, stderr } = await ended;
  expect(end, stderr).toBe(0);
  expect(stdout).toMatch(/^\{"status":"ok"\}\{"status":"IN_QUEUE","job":"[^"]+"\}$/);
  expect(readPng(new Uint8Array(readFileSync(join(folder, "apple.png"))))).toMatchObject({ hasAlpha: true });
  child.kill("SIGINT");
  expect(await exit).toBe(0);
});

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readPng } from "../../../../src/image/png.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { snippetsOf } from "../../../helpers/markdown.ts";
import { startShell } from "../../../helpers/programs.ts";
import { endless, picture, stage, temporaryFolder } from "../fake-terminal.ts";
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

test("SIGTERM cancels what does not end in time", async () => {
  const begun = deferred();
  const { env, endpoint } = await stage({
    worker: (...given) => {
      begun.resolve();
      return endless(...given);
    },
  });
  const { child, url, exit, stderr } = await serveAlone(["--stop-timeout", "0.1"], { ...env, LAYERDIFFUSE_TOKENS });
  const held = fetch(`${url}/alpha/v1/txt2img`, asking).catch((error: unknown) => error);
  await begun.promise;
  child.kill("SIGTERM");
  expect(await exit, stderr()).toBe(0);
  expect(await held).toBeInstanceOf(Error);
  expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED"]);
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

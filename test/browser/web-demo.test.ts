import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { type Program, startNode } from "../helpers/programs.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

function startDemo(...more: string[]): Program {
  const program = startNode("scripts/demo-web.ts", { cwd: root }, "--no-open", ...more);
  onTestFinished(() => void program.child.kill("SIGKILL"));
  return program;
}

test("the demo says where its page is, serves it with the proxy, and ends when told", async () => {
  const demo = startDemo("--port", "0");
  const said = await demo.said("Ctrl-C ends both.");
  const url = /http:\S+/.exec(said)?.[0] ?? "";
  const page = await fetch(url);
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining("<title>LayerDiffuse</title>")]);
  expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; script-src 'self';/);
  expect((await fetch(new URL("api/layerdiffuse/health", url))).status).toBe(200);
  expect((await fetch(new URL("package.json", url))).status).toBe(404);
  demo.child.kill("SIGTERM");
  expect(await demo.ended).toMatchObject({ code: 0, stderr: "" });
});

test("the demo says what to do when its port is taken", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => other.once("listening", resolve));
  onTestFinished(() => void other.close());
  const address = other.address();
  const port = typeof address === "object" && address !== null ? String(address.port) : "";
  expect(await startDemo("--port", port).ended).toMatchObject({
    code: 1,
    stderr: `Port ${port} is taken. Pass another: npm run demo:web -- --port 0\n`,
  });
});

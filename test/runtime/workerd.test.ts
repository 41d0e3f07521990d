import { rmSync } from "node:fs";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Endpoints, openEndpoints, picture } from "./endpoints.ts";
import { makeProject } from "./project.ts";
import { workerdConfig } from "./runtimes.ts";
import { serveWorkerd } from "./serve.ts";

let project: string;
let endpoints: Endpoints;

beforeAll(async () => {
  project = makeProject();
  endpoints = await openEndpoints("none.png");
});

afterAll(async () => {
  await endpoints?.close();
  rmSync(project, { recursive: true, force: true });
});

test("one client serves requests that overlap and share its slots, though workerd keeps them apart", async () => {
  const url = await serve("shared.mjs");
  const answers = await Promise.all(
    ["apple", "pear", "fig", "plum"].map(async (path) => {
      // A request that workerd gave up on is never answered.
      const signal = AbortSignal.timeout(20_000);
      const response = await fetch(`${url}/${path}`, { signal });
      return { status: response.status, length: (await response.arrayBuffer()).byteLength };
    }),
  );
  expect(answers).toEqual(Array(4).fill({ status: 200, length: picture.length }));
});

test("the proxy makes pictures for requests that overlap, serves their files, and takes no raw id", async () => {
  const url = await serve("proxy.mjs");
  const headers = { "content-type": "application/json", "x-user": "alice" };
  const files = await Promise.all(
    ["apple", "pear", "fig", "plum"].map(async (prompt) => {
      const init = { method: "POST", headers, body: JSON.stringify({ prompt }), signal: AbortSignal.timeout(20_000) };
      const made = await (await fetch(`${url}/steady/alpha/v1/txt2img`, init)).json();
      const file = await fetch(`${url}${made.url}`);
      return { status: file.status, length: (await file.arrayBuffer()).byteLength };
    }),
  );
  expect(files).toEqual(Array(4).fill({ status: 200, length: picture.length }));
  const [job] = endpoints.of("steady").jobs();
  expect((await fetch(`${url}/steady/status/${job?.id}`, { headers })).status).toBe(404);
  expect((await fetch(`${url}/steady/health`)).status).toBe(401);
});

test("the proxy asks for free places in requests that overlap, and answers each of them", async () => {
  const url = await serve("proxy.mjs");
  const headers = { "content-type": "application/json", "x-user": "bob" };
  const body = JSON.stringify({ input: { prompt: "apple" } });
  const run = async () => {
    const signal = AbortSignal.timeout(20_000);
    return (await fetch(`${url}/steady/run`, { method: "POST", headers, body, signal })).status;
  };
  for (let index = 0; index < 4; index++) expect(await run()).toBe(200);
  const jobs = () => endpoints.of("steady").jobs();
  await vi.waitFor(() => expect(jobs().every(({ status }) => status === "COMPLETED")).toBe(true), 20_000);
  expect(await Promise.all([run(), run(), run(), run()])).toEqual([200, 200, 200, 200]);
});

/** A program of ours in workerd, with the plan. */
function serve(main: string): Promise<string> {
  return serveWorkerd(project, main, workerdConfig(project, main, [], { plan: JSON.stringify(endpoints.plan) }));
}

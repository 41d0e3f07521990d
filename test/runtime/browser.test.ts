import { rmSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { programOf } from "../helpers/runtime-programs.ts";
import { type Endpoints, openEndpoints } from "./endpoints.ts";
import { makeProject } from "./project.ts";
import { playWith, type Told } from "./runtimes.ts";

let project: string;
let endpoints: Endpoints;
let told: Record<string, Told>;

beforeAll(async () => {
  project = makeProject();
  endpoints = await openEndpoints("none.png");
  told = await playWith(programOf("Node 24"), ["browser.mjs"], project, [], endpoints.plan);
});

afterAll(async () => {
  await endpoints?.close();
  rmSync(project, { recursive: true, force: true });
});

test("a key in a browser is refused, with the way out in the message", () => {
  expect(told["guarded"]).toEqual({ code: "configuration", message: expect.stringContaining("proxyUrl") });
});

test("a key in a browser works for who says that they know, by a fetch that must be called on its window", () => {
  expect(told["allowed"]).toEqual({ made: 8 });
});

test("a proxy is found by a path of the page, and is sent no key", () => {
  expect(told["proxied"]).toMatchObject({ code: "authentication" });
  const { requests } = endpoints.of("steady");
  expect(requests.at(-1)?.headers).not.toHaveProperty("authorization");
});

test("a browser is not asked to set the header that names it", () => {
  const agents = endpoints.of("steady").requests.map(({ headers }) => headers["user-agent"] ?? "");
  expect(agents.filter((agent) => agent.startsWith("layerdiffuse"))).toEqual([]);
});

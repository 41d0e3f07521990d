import { expect, inject, test } from "vitest";
import { repository, run } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";

const { folder } = inject("packed");
const script = (name: string, ...args: string[]) =>
  run(programOf("Node 24"), [`scripts/${name}`, ...args], { cwd: repository });

test("a browser loads at most 39,000 bytes for the client, minified and gzipped", async ({ annotate }) => {
  const { code, stdout, stderr } = await script("check-size.ts", folder);
  expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: "" });
  await annotate(stdout);
});

test("THIRD-PARTY-NOTICES.md names exactly the packages whose code is in the built files", async () => {
  const { code, stderr } = await script("third-party-notices.ts", "--check");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

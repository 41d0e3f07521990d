import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { newFolder, startNode } from "../helpers/programs.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = join(root, "examples/serve");
const text = readFileSync(join(folder, "Dockerfile"), "utf8");
const instructions = text
  .replaceAll("\\\n", " ")
  .split("\n")
  .filter((line) => /^[A-Z]+ /.test(line));

/** What stands behind an instruction, each time it stands there. */
function all(instruction: string): string[] {
  const start = `${instruction} `;
  return instructions.filter((line) => line.startsWith(start)).map((line) => line.slice(start.length).trim());
}

/** The words of the one instruction of that name, as its JSON has them. */
function wordsOf(instruction: string): string[] {
  const [line = ""] = all(instruction);
  const words: unknown = JSON.parse(line.slice(line.indexOf("[")));
  return Array.isArray(words) ? words.map(String) : [];
}

describe("examples/serve/Dockerfile", () => {
  test("every image it names is pinned by digest, or is a stage of its own", () => {
    const stages = all("FROM").map((line) => / AS (\w+)$/.exec(line)?.[1]);
    for (const line of [text.split("\n")[0], ...all("FROM")]) {
      const [name = ""] = line?.replace("# syntax=", "").split(" ") ?? [];
      expect(stages.includes(name) || /:[\w.-]+@sha256:[\da-f]{64}$/.test(name), name).toBe(true);
    }
  });

  test("runs as nobody in particular, by number, so that a host can see that it is not root", () => {
    expect(all("USER")).toEqual(["1000:1000"]);
    expect(all("RUN").at(-1)).toBe("mkdir --mode=700 /images && chown 1000:1000 /images");
    expect(all("VOLUME")).toEqual(["/images"]);
  });

  test("what it copies is there, and is all that .dockerignore lets through", () => {
    const copied = all("COPY").filter((line) => !line.startsWith("--from="));
    const names = new Set(copied.flatMap((line) => line.split(/\s+/).slice(0, -1)));
    for (const name of names) expect(existsSync(join(root, name)), name).toBe(true);
    const rules = readFileSync(join(folder, "Dockerfile.dockerignore"), "utf8").trim().split("\n");
    const [first, ...others] = rules.filter((line) => !line.startsWith("#"));
    expect([first, others.sort()]).toEqual(["*", [...names].map((name) => `!${name}`).sort()]);
  });

  test("its entry point serves, its health check tells so, and nothing has a key in it", async () => {
    const [node, bin = "", ...serve] = wordsOf("ENTRYPOINT");
    const [check = "", ...checking] = wordsOf("HEALTHCHECK");
    expect([node, check]).toEqual(["node", "node"]);
    // The sources stand for what is built of them.
    const source = join(root, bin.replace("/app/dist", "src").replace(/\.js$/, ".ts"));
    const images = join(newFolder(), "images");
    const env = {
      RUNPOD_ENDPOINT_ID: "e",
      RUNPOD_API_KEY: "k",
      LAYERDIFFUSE_TOKENS: "shop:0123456789abcdef",
      ...Object.fromEntries(all("ENV").map((line) => line.split("=", 2))),
    };
    const words = serve.map((word) => (word === "/images" ? images : word));
    expect(serve.join(" ")).toContain("--host 0.0.0.0");
    // A test is to be reached from nowhere; of an option given twice, the last counts.
    const program = startNode(source, { cwd: newFolder(), env }, ...words, "--host", "127.0.0.1", "--port", "0");
    onTestFinished(() => void program.child.kill("SIGKILL"));
    const said = await program.said("Ctrl-C stops it");
    const { port } = new URL(/http:\S+/.exec(said)?.[0] ?? "");
    const isWell = async () => {
      const script = checking.map((word) => word.replace(":8787/", `:${port}/`));
      return await promisify(execFile)(process.execPath, script).then(
        () => true,
        () => false,
      );
    };
    expect(existsSync(images)).toBe(true);
    expect(await isWell()).toBe(true);
    program.child.kill("SIGTERM");
    expect((await program.ended).code).toBe(0);
    expect(await isWell()).toBe(false);
    expect(text).not.toMatch(/^(ARG|ENV) .*(KEY|TOKEN|SECRET)/m);
  });
});

import { beforeEach, describe, expect, test, vi } from "vitest";
import { loadRenderer, RendererMissingError } from "../../../../src/local/artist/draw.ts";
import { run, temporaryFolder } from "../fake-terminal.ts";

vi.mock("../../../../src/local/artist/draw.ts", { spy: true });

const fails = (isAbsent: boolean) =>
  vi.mocked(loadRenderer).mockRejectedValue(new RendererMissingError(isAbsent, new Error("no such file\n- stack")));

async function ends(argv: string[]) {
  const { code, stdout, stderr } = run(argv, { cwd: await temporaryFolder() });
  return { code: await code, stdout: stdout.text, stderr: stderr.text };
}

describe("without the package that draws", () => {
  beforeEach(() => void fails(true));

  test.each([
    [["local"], "local"],
    [["local", "--port", "0", "--data", "my jobs"], "local --port 0 --data 'my jobs'"],
    [["local", "--workers", "1", "--json"], "local --workers 1 --json"],
    [["serve", "--local", "-p", "0"], "serve --local -p 0"],
    [["serve", "--local", "--token", "shop:0123456789abcdef0123"], "serve --local --token NAME:TOKEN"],
    [["serve", "--local", "--token=shop:0123456789abcdef0123"], "serve --local --token=NAME:TOKEN"],
  ])("%j ends with 2 before it listens, and gives the command that works", async (argv, repeated) => {
    const { code, stdout, stderr } = await ends(argv);
    expect(code).toBe(2);
    expect(stdout.replace(/^\{"error":.*\}$/m, "").trim()).toBe("");
    const [first] = stderr.split("\n");
    expect(first).toMatch(/^error: .* @resvg\/resvg-js, which is not installed\. Run: /);
    expect(first?.endsWith(` npx -p layerdiffuse -p @resvg/resvg-js layerdiffuse ${repeated}`)).toBe(true);
    expect(stderr).not.toContain("0123456789");
  });

  test.each([
    ["--worker", ["local", "--port", "0", "--worker", "python handler.py", "--cwd", "."]],
    ["--no-worker", ["local", "--port", "0", "--no-worker"]],
    ["--workers 0", ["local", "--port", "0", "--workers", "0"]],
  ])("local starts all the same with %s, where it draws nothing", async (_, argv) => {
    const { code, stderr, interrupt } = run(argv, { cwd: await temporaryFolder() });
    await stderr.until(/Ctrl-C stops it/);
    interrupt();
    expect(await code).toBe(0);
  });

  test("local still prints the environment of a worker", async () => {
    expect(await ends(["local", "--print-env", "-q"])).toMatchObject({ code: 0, stderr: "" });
  });
});

test("with a package that has no build for this platform, the reason is told and no other command", async () => {
  fails(false);
  const { code, stderr } = await ends(["local"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error: .*cannot be loaded \(no such file\)\. Install it: /);
  expect(stderr).not.toContain("npx");
});

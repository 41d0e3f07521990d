import { describe, expect, test } from "vitest";
import { VERSION } from "../../../src/runtime/environment.ts";
import { run, temporaryFolder } from "./fake-terminal.ts";

async function ends(...argv: string[]) {
  const { code, stdout, stderr } = run(argv, { cwd: await temporaryFolder() });
  return { code: await code, stdout: stdout.text, stderr: stderr.text };
}

describe("help", () => {
  test.each(["generate", "result", "cancel", "health", "local", "serve"])("of %s has examples", async (command) => {
    const { code, stdout } = await ends(command, "--help");
    expect(code).toBe(0);
    expect(stdout).toContain(`Examples:\n  $ layerdiffuse ${command}`);
  });

  test.each(["generate", "result", "cancel", "health", "local", "serve"])(
    "of %s tells one default of an option at most",
    async (command) => {
      const { stdout } = await ends(command, "--help");
      const options = stdout.slice(stdout.indexOf("Options:"), stdout.indexOf("Examples:")).split(/\n(?= {2}-)/);
      expect(options.length).toBeGreaterThan(3);
      const twice = options.filter((option) => (option.match(/\bdefaults?\b/gi)?.length ?? 0) > 1);
      expect(twice).toEqual([]);
    },
  );

  test("of local says that --quiet keeps the log back too", async () => {
    const { stdout } = await ends("local", "--help");
    expect(stdout.replace(/\s+/g, " ")).toContain(
      "-q, --quiet Print nothing but errors to stderr: no lines to paste, no log",
    );
  });

  test("lists the commands, the exit codes, and where the key comes from", async () => {
    const { code, stdout } = await ends("--help");
    expect(code).toBe(0);
    expect(stdout).toContain("RUNPOD_API_KEY      the API key. Never an argument");
    expect(stdout).toMatch(/^ {3}16 {2}no worker took the job within --queue-timeout$/m);
    expect(stdout).toMatch(/^ {2}130 {2}Ctrl-C/m);
  });

  test("comes on stderr when no command is given", async () => {
    const { code, stdout, stderr } = await ends();
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("Usage: layerdiffuse");
  });

  test("--version prints the version", async () => {
    expect(await ends("--version")).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: "" });
  });
});

describe("wrong arguments", () => {
  test.each([
    ["an unknown option", ["generate", "x", "--stpes", "3"], "(Did you mean --steps?)"],
    ["an unknown command", ["generat", "x"], "(Did you mean generate?)"],
    ["a prompt without a command", ["a red apple"], '(Did you mean: layerdiffuse generate "a red apple"?)'],
    ["a word where a number belongs", ["generate", "x", "--steps", "many"], "It must be a number."],
    ["an unknown mode", ["generate", "x", "--mode", "fast"], "Allowed choices are async, sync."],
    ["no time at all", ["generate", "x", "--timeout", "0"], "seconds above 0"],
    ["no prompt", ["generate"], 'layerdiffuse generate "a red apple"'],
    ["a prompt without quotes", ["generate", "a", "red", "apple"], 'in quotes: layerdiffuse generate "a red apple"'],
    ["concurrency without a batch", ["generate", "x", "--concurrency", "3"], "goes with --batch"],
    ["a command that is not quoted", ["local", "--worker", "python", "-u", "x.py"], '--worker "python handler.py")'],
    ["the same without options", ["local", "--worker", "python", "x.py"], "(Quote the whole command: "],
    ["a time with a unit", ["local", "--cold-start", "5m"], "a number of seconds, or 0"],
    ["the same where 0 is none", ["local", "--lease", "5m"], "a number of seconds above 0"],
    ["a wrong option of a command", ["local", "--prot", "1"], "Try: layerdiffuse local --help"],
    ["an impossible port", ["local", "--port", "70000"], "from 0 to 65535"],
  ])("%s: exit 2, and what is right", async (_, argv, message) => {
    const { code, stdout, stderr } = await ends(...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("error: ");
    expect(stderr).toContain(message);
  });

  test("a slip beside a command of one word is no matter of quotes", async () => {
    const { stderr } = await ends("local", "--worker", "./run.sh", "--wokers", "3");
    expect(stderr).toContain("(Did you mean --workers?)");
    expect(stderr).not.toContain("Quote");
  });

  test("words after a command in quotes get no hint about quotes", async () => {
    const { stderr } = await ends("local", "--worker", "python x.py", "y");
    expect(stderr).toContain("too many arguments");
    expect(stderr).not.toContain("Quote");
  });

  test("one unknown word gets no hint about prompts", async () => {
    expect((await ends("apple")).stderr).not.toContain("layerdiffuse generate");
  });

  test.each([
    [
      "a wrong value",
      ["generate", "x", "--steps", "500", "--json"],
      "invalid_input",
      "option '--steps <n>' argument '500'",
    ],
    ["an unknown option", ["generate", "x", "--json", "--stpes", "5"], "usage", "unknown option '--stpes'"],
    ["a contradiction", ["generate", "x", "--json", "--concurrency", "5"], "usage", "--concurrency goes with --batch."],
  ])("with --json %s is an object on stdout as well", async (_, argv, code, message) => {
    const ended = await ends(...argv);
    expect(ended.code).toBe(2);
    expect(JSON.parse(ended.stdout)).toEqual({ error: { code, message: expect.stringContaining(message) } });
    expect(JSON.parse(ended.stdout).error.message).not.toMatch(/^error/);
    expect(ended.stderr).toContain(message);
  });

  test("--json that is part of a prompt asks for no JSON", async () => {
    const { stdout } = await ends("generate", "--stpes", "--", "--json");
    expect(stdout).toBe("");
  });

  test("a key as an argument is refused, and not repeated", async () => {
    const { code, stderr } = await ends("generate", "x", "--api-key", "rpa_SECRET");
    expect(code).toBe(2);
    expect(stderr).toContain("RUNPOD_API_KEY only");
    expect(stderr).not.toContain("SECRET");
  });
});

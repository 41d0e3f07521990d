import { describe, expect, test } from "vitest";
import { cancelCommand, goesOn, isKept, resultCommand } from "../../../../src/cli/jobs/job-commands.ts";

describe("the command for a job", () => {
  test.each([
    [{}, "layerdiffuse result job-1 -o FILE"],
    [{ output: "apple.png" }, "layerdiffuse result job-1 -o apple.png"],
    [{ output: "my images/apple.png", force: true }, 'layerdiffuse result job-1 -o "my images/apple.png" --force'],
    [{ output: "-" }, "layerdiffuse result job-1 -o FILE"],
    [
      { endpoint: "abc", baseUrl: "http://127.0.0.1:8765/v2", output: "a.png" },
      "layerdiffuse result job-1 -o a.png --endpoint abc --base-url http://127.0.0.1:8765/v2",
    ],
  ])("has the flags of the run that made it: %j", (flags, command) => {
    expect(resultCommand("job-1", flags)).toBe(command);
    expect(goesOn("job-1", flags)).toContain(command);
  });

  test("that stops it needs no file", () => {
    expect(cancelCommand("job-1", { endpoint: "abc" })).toBe("layerdiffuse cancel job-1 --endpoint abc");
  });

  test("for an image that could not be written leaves the file open", () => {
    const words = isKept("job-1", { output: "taken.png", endpoint: "abc" });
    expect(words).toMatch(/layerdiffuse result job-1 -o FILE --endpoint abc$/);
  });
});

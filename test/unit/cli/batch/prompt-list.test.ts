import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { parsePromptList, readPromptList } from "../../../../src/cli/batch/prompt-list.ts";
import { temporaryFolder } from "../fake-terminal.ts";

const parse = (text: string) => parsePromptList(text, "list.txt", {});
/** `line: prompt` of each entry. */
const promptsOf = (text: string) => {
  const { entries, wrong } = parse(text);
  expect(wrong).toEqual([]);
  return entries.map(({ line, input }) => `${line}: ${input.prompt}`);
};

describe("a prompt list", () => {
  test("of a file has its prompts, with the numbers of their lines", async () => {
    const cwd = await temporaryFolder();
    await writeFile(join(cwd, "list"), "\uFEFFa\n\n# no\nb\n");
    const { signal } = new AbortController();
    const list = await readPromptList("list", { cwd, stdin: Readable.from([]), signal }, { steps: 5 });
    expect(list).toEqual({
      name: "list",
      entries: [
        { position: 1, line: 1, input: { prompt: "a", steps: 5 } },
        { position: 2, line: 4, input: { prompt: "b", steps: 5 } },
      ],
      wrong: [],
    });
  });

  test.each([
    ["Unix", "a\nb\n", ["1: a", "2: b"]],
    ["Windows", "a\r\nb\r\n", ["1: a", "2: b"]],
    ["an old Mac", "a\rb", ["1: a", "2: b"]],
    ["a byte order mark in the middle, as of two files", "a\n\uFEFFb\n\uFEFF# no\n", ["1: a", "2: b"]],
    [
      "brackets as prompts have them",
      "[dog|wolf] in a forest\n[cat]\n(a:1.2)\n",
      ["1: [dog|wolf] in a forest", "2: [cat]", "3: (a:1.2)"],
    ],
    ["words that are more than a missing value", "true love\nnull island\n", ["1: true love", "2: null island"]],
    ["only a sign", "🍎\n", ["1: 🍎"]],
    ["quotes, as jq prints them", '"a \\"b\\" \\u00e4"\n"c" and "d"\n', ['1: a "b" ä', '2: "c" and "d"']],
  ])("with lines of %s", (_, text, prompts) => {
    expect(promptsOf(text)).toEqual(prompts);
  });

  test.each([
    ["of prompts", '[\n  "a",\n  "b, [c]"\n]\n', ["2: a", "3: b, [c]"]],
    ["on one line", '["a","b"]', ["1: a", "1: b"]],
    ["of inputs", '[\n  {\n    "prompt": "a"\n  },\n\n  {"prompt": "b"}\n]', ["2: a", "6: b"]],
    ["under a comment", '# mine\n\n[\n"a"\n]', ["4: a"]],
    ["with quotes and brackets in strings", '["a \\" ] ,", "b"]', ['1: a " ] ,', "1: b"]],
  ])("that is a JSON list %s", (_, text, prompts) => {
    expect(promptsOf(text)).toEqual(prompts);
  });

  test.each([
    ["on a line each", '{"prompt":"a"}\n{"prompt":"b","seed":1}\nc', ["1: a", "2: b", "3: c"]],
    [
      "over several lines, as jq prints them",
      '{\n  "prompt": "a"\n}\n{\n  "prompt": "}"\n}\nc',
      ["1: a", "4: }", "7: c"],
    ],
  ])("with objects %s", (_, text, prompts) => {
    expect(promptsOf(text)).toEqual(prompts);
  });

  test("says of each wrong line what is wrong, with its number in the file", () => {
    const text = ['{"prompt":', "", '{"prompt":" "}', "# a comment", '{"promt":"a"}', '{"seed":1}', "fine"].join("\n");
    const { entries, wrong } = parse(text);
    expect(entries.map(({ line }) => line)).toEqual([7]);
    expect(wrong).toEqual([
      { line: 1, message: expect.stringContaining("starts with { but is not valid JSON") },
      { line: 3, message: "prompt must not be blank" },
      { line: 5, message: "prompt is required; promt is unknown; did you mean prompt?" },
      { line: 6, message: "prompt is required" },
    ]);
  });

  test.each([
    ["a JSON list with a comma too many", '[\n"a",\n]', 1, "begins like a JSON list, but is not valid JSON"],
    ["a JSON list that was cut", '["a", "b', 1, "begins like a JSON list"],
    ["a list in Python's words", "['a', 'b']", 1, "begins like a JSON list"],
    ["a JSON list without prompts", "[]", 1, "the list is empty"],
    [
      "a number in a list",
      '["a",\n7]',
      2,
      "must be a prompt in quotes, or an object with the fields of the input, got 7",
    ],
    ["a list in a list", '["a",["b"]]', 1, "got a list"],
    ["a JSON list on a later line", 'a\n["b"]', 2, "is a JSON list"],
    ["an item of a list", '"a",\n"b"', 1, "is a piece of JSON, not a prompt"],
    ["a missing value", "a\nnull\n", 2, "is what programs write for a missing value"],
    ["an object that a program took for text", "[object Object]", 1, 'write {"prompt": "[object Object]"}'],
    ["a bracket alone", "a\n],", 2, "is a piece of JSON, not a prompt"],
    ["a prompt with braces", "{dog|wolf} in a forest", 1, 'write {"prompt": "…"}'],
    ["a field that is no field", '{"prompt":"a","stps":3}', 1, "stps is unknown; did you mean steps?"],
    ["a name of the wire", '{"prompt":"a","negative_prompt":"b"}', 1, "did you mean negativePrompt?"],
    ["a name of JavaScript's own", '{"prompt":"a","__proto__":{"seed":1}}', 1, "__proto__ is unknown"],
    ["half an emoji", '{"prompt":"an apple \\ud83c"}', 1, "prompt"],
    ["half an emoji in a field further in", '{"prompt":"a","extra":{"x":["\\udf4e"]}}', 1, "extra"],
    ["a NUL character in an escape", '{"prompt":"a\\u0000b"}', 1, "prompt"],
    ["a line break of Unicode's own", "a\u2028b", 1, "U+2028"],
  ])("refuses %s", (_, text, line, message) => {
    expect(parse(text).wrong).toEqual([{ line, message: expect.stringContaining(message) }]);
  });

  test.each([
    ["nothing", ""],
    ["blank lines and comments", "\n  \n# a\n"],
  ])("with %s is refused as a whole", (_, text) => {
    expect(() => parse(text)).toThrow("list.txt holds no prompt.");
  });

  test.each([
    ["a page", "<!DOCTYPE html>\n<p>a"],
    ["a PDF", "%PDF-1.4\nplain text"],
    ["a document", "{\\rtf1\\ansi a red apple}"],
  ])("that is %s is refused as a whole", (_, text) => {
    expect(() => parse(text)).toThrow(/not a list of prompts/);
  });
});

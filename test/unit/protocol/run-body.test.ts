import { describe, expect, it } from "vitest";
import { InvalidInputError } from "../../../src/errors/index.ts";
import { limits } from "../../../src/protocol/limits.ts";
import { checkJobId, type RunFields, runRequestBody } from "../../../src/protocol/run-body.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";

/** Typed loosely, since callers without types may pass anything. */
const body = (input: unknown, fields: unknown = {}, operation: "run" | "runsync" = "run") =>
  runRequestBody(operation, input as Record<string, unknown>, fields as RunFields);

const issue = (run: () => unknown) => {
  const error = expectClass(thrownBy(run), InvalidInputError);
  return error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ");
};

/** An input whose request has exactly so many bytes. */
function inputOf(bytes: number, unit = "x") {
  const room = bytes - JSON.stringify({ input: { text: "" } }).length;
  const size = new TextEncoder().encode(unit).length;
  return { text: unit.repeat(Math.floor(room / size)) + "x".repeat(room % size) };
}

describe("runRequestBody", () => {
  it("wraps the input once, with what goes beside it", () => {
    expect(JSON.parse(body({ prompt: "a" }))).toEqual({ input: { prompt: "a" } });
    const fields = {
      webhook: "https://example.com/hook?secret=1",
      policy: { executionTimeout: 5_000, ttl: 10_000, lowPriority: true },
      s3Config: { bucketName: "b" },
    };
    expect(JSON.parse(body({ prompt: "a" }, fields))).toEqual({ input: { prompt: "a" }, ...fields });
    expect(JSON.parse(body({ prompt: "a" }, { webhook: undefined, policy: undefined }))).toEqual({
      input: { prompt: "a" },
    });
  });

  it("refuses an empty input, which would never end well", () => {
    expect(issue(() => body({}))).toContain("must not be empty");
  });

  it.each([[[]], [[1]], ["text"], [5], [null], [undefined], [true]])("refuses the input %j", (input) => {
    expect(issue(() => body(input))).toBe(": must be an object");
  });

  it("refuses an input that is wrapped already", () => {
    expect(issue(() => body({ input: { prompt: "a" } }))).toContain("input: is wrapped twice");
    expect(issue(() => body({ input: {} }))).toContain("wrapped twice");
  });

  it("takes a field named input that is no wrapping", () => {
    expect(() => body({ input: "text" })).not.toThrow();
    expect(() => body({ input: { a: 1 }, language: "en" })).not.toThrow();
  });

  it("refuses what JSON cannot say, in the input and in s3Config", () => {
    const circular: Record<string, unknown> = { a: 1 };
    circular["self"] = { again: circular };
    expect(issue(() => body(circular))).toBe(
      "self.again: is an object that holds itself, which cannot be written as JSON",
    );
    expect(issue(() => body({ big: 5n }))).toBe("big: is a bigint, which cannot be written as JSON");
    expect(issue(() => body({ a: 1 }, { s3Config: { size: Number.POSITIVE_INFINITY } }))).toContain(
      "s3Config.size: is Infinity",
    );
    expect(issue(() => body({ text: "an apple 🍎".slice(0, -1) }))).toContain("text: must not contain half of");
  });

  describe.each([
    ["run", limits.runBodyBytes, 10 * 1024 * 1024],
    ["runsync", limits.runSyncBodyBytes, 20 * 1024 * 1024],
  ] as const)("of %s", (operation, most, bytes) => {
    it("takes a body of the largest size, and refuses one byte more", () => {
      expect(most).toBe(bytes);
      expect(body(inputOf(most), {}, operation).length).toBe(most);
      const said = issue(() => body(inputOf(most + 1), {}, operation));
      expect(said).toContain(`the request has ${most + 1} bytes, ${operation} takes ${most}`);
    });

    it.each(["ф", "€", "😀"])("counts bytes, not letters, of %s", (letter) => {
      const largest = body(inputOf(most, letter), {}, operation);
      expect(new TextEncoder().encode(largest).length).toBe(most);
      expect(largest.length).toBeLessThan(most);
      expect(issue(() => body(inputOf(most + 1, letter), {}, operation))).toContain(`${most + 1} bytes`);
    });
  });

  it.each(["http://example.com/hook", "https://u:p@example.com:8443/a?b=c", "HTTPS://EXAMPLE.COM/hook"])(
    "takes the webhook %s",
    (webhook) => {
      expect(JSON.parse(body({ a: 1 }, { webhook }))).toMatchObject({ webhook });
    },
  );

  it.each([
    "",
    "example.com/hook",
    "/hook",
    "ftp://example.com",
    "javascript:alert(1)",
    "https://a/\ud83c",
    "https://",
    5,
    null,
    {},
  ])("refuses the webhook %j", (webhook) => {
    expect(issue(() => body({ a: 1 }, { webhook }))).toBe("webhook: must be an http(s) address");
  });

  it.each([
    ["executionTimeout", [5_000, 5_001, 604_799_999, 604_800_000], [4_999, 604_800_001]],
    ["ttl", [10_000, 10_001, 604_799_999, 604_800_000], [9_999, 604_800_001]],
  ])("takes or refuses policy.%s by its boundaries", (name, good, bad) => {
    for (const value of good) expect(() => body({ a: 1 }, { policy: { [name]: value } })).not.toThrow();
    for (const value of [...bad, 0, -1, Number.NaN, Number.POSITIVE_INFINITY, "60000", null]) {
      expect(
        issue(() => body({ a: 1 }, { policy: { [name]: value } })),
        String(value),
      ).toMatch(new RegExp(`^policy.${name}: must be from `));
    }
    expect(() => body({ a: 1 }, { policy: { [name]: undefined } })).not.toThrow();
  });

  it("tells all that is wrong at once", () => {
    const found = issue(() => body({}, { webhook: "x", policy: { ttl: 1, executionTimeout: 1 } }));
    expect(found.split("; ").map((one) => one.split(":")[0])).toEqual([
      "",
      "webhook",
      "policy.executionTimeout",
      "policy.ttl",
    ]);
  });
});

describe("checkJobId", () => {
  it.each(["a", "sync-7f3e_1-u1", "0123456789abcdef-e1"])("takes %s", (id) => {
    expect(checkJobId(id)).toBe(id);
  });

  it.each(["", " ", "a b", "a/b", "../health", "a?b", "a#b", "a%2fb", "a\n", "ö", undefined, null, 5, {}, 5n])(
    "refuses %s",
    (id) => {
      expect(issue(() => checkJobId(id as string))).toContain("is not a job id");
    },
  );
});

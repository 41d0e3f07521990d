import { expect, test } from "vitest";
import { troubleJson, troubleLine } from "../../../../src/cli/serve/access-log.ts";
import { usualPlaces } from "../../../../src/cli/terminal/user-words.ts";
import { BadRequestError, ConnectionError, EndpointNotFoundError } from "../../../../src/errors/index.ts";

const key = "rpa_a-key-that-nobody-may-see";
const upstream = { apiKey: key, places: usualPlaces };
const context = { route: "run", subject: "alice", status: 502 };

test("a trouble's line has no key, wherever it comes from, and is one line", () => {
  const line = troubleLine(
    new ConnectionError(`refused:\n\u001b[31m Bearer ${key}\u0007`, { arrived: "no" }),
    context,
    upstream,
  );
  expect(line).toMatch(/^\d{4}-\S+Z run 502 alice: connection: refused: \[31m Bearer … ?$/);
});

test("what may repeat a prompt is told by its code alone", () => {
  const line = troubleLine(new BadRequestError("the service refused: a red apple"), context, upstream);
  expect(line).toMatch(/ run 502 alice: bad_request$/);
});

test("it is as long as a line may be", () => {
  const line = troubleLine(new Error("x".repeat(5_000)), { status: 500 }, upstream);
  expect(line).toMatch(/ - 500 -: unexpected: x{300}$/);
});

test("for programs it is an object of one line, as little of key and prompt in it", () => {
  const line = (error: unknown) => JSON.parse(troubleJson(error, context, upstream));
  const time = expect.stringMatching(/^\d{4}-\S+Z$/);
  const reason = "refused: Bearer …";
  expect(line(new ConnectionError(`refused: Bearer ${key}`, { arrived: "no" }))).toEqual({
    time,
    ...context,
    code: "connection",
    reason,
  });
  expect(line(new BadRequestError("the service refused: a red apple"))).toEqual({
    time,
    ...context,
    code: "bad_request",
  });
});

test("it names the variables of the server, not the client's options", () => {
  const error = new EndpointNotFoundError("POST /run answered 404. Check endpointId and baseUrl.");
  const places = { ...usualPlaces, baseUrl: "--base-url" } as const;
  expect(troubleLine(error, context, { apiKey: key, places })).toContain("Check RUNPOD_ENDPOINT_ID and --base-url.");
});

import { describe, expect, test } from "vitest";
import { Recorder } from "../../../../src/local/http/request-recorder.ts";

const request = (path: string, body?: string) => ({
  method: "GET",
  path,
  at: 0,
  headers: {},
  ...(body !== undefined && { body }),
});

describe("Recorder", () => {
  test("keeps the last 10 000 requests", () => {
    const recorder = new Recorder();
    for (let index = 0; index < 10_002; index++) recorder.add(request(String(index)));
    expect(recorder.requests).toHaveLength(10_000);
    expect(recorder.requests[0]?.path).toBe("2");
  });

  test("forgets earlier where bodies are large", () => {
    const recorder = new Recorder();
    const body = "x".repeat(20 * 1024 * 1024);
    for (let index = 0; index < 5; index++) recorder.add(request(String(index), body));
    expect(recorder.requests.map(({ path }) => path)).toEqual(["2", "3", "4"]);
  });
});

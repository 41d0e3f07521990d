import { describe, expect, test } from "vitest";
import { endpointAccess } from "../../../../src/cli/jobs/endpoint-access.ts";
import { readVariables } from "../../../../src/cli/terminal/environment-variables.ts";
import { ConfigurationError } from "../../../../src/errors/index.ts";

const env = { RUNPOD_ENDPOINT_ID: "from-env", RUNPOD_API_KEY: "rpa_SECRET", RUNPOD_BASE_URL: "https://env.test/v2" };

function accessOf(flags: Parameters<typeof endpointAccess>[0], more: Record<string, string> = {}) {
  return endpointAccess(flags, readVariables({ ...env, ...more }), "or else");
}

describe("the endpoint that flags and environment name", () => {
  test("is that of the environment, trimmed, and flags come first", () => {
    expect(accessOf({}, { RUNPOD_API_KEY: " rpa_SECRET\n" })).toEqual({
      endpointId: "from-env",
      apiKey: "rpa_SECRET",
      baseUrl: "https://env.test/v2",
    });
    expect(accessOf({ endpoint: "flag", baseUrl: "https://flag.test" })).toMatchObject({
      endpointId: "flag",
      baseUrl: "https://flag.test",
    });
  });

  test("is RunPod's own where no address is set, or an empty one", () => {
    expect(accessOf({}, { RUNPOD_BASE_URL: " " }).baseUrl).toBeUndefined();
  });

  test.each([
    [{}, { RUNPOD_ENDPOINT_ID: "" }, "The endpoint is missing. Set RUNPOD_ENDPOINT_ID or pass --endpoint"],
    [{ endpoint: "" }, {}, "--endpoint is empty."],
    [{}, { RUNPOD_API_KEY: "SECRET key" }, "RUNPOD_API_KEY holds characters that no header may carry."],
    [{}, { RUNPOD_API_KEY: " " }, "The API key is missing. Set RUNPOD_API_KEY"],
    [{ endpoint: "https://x.test" }, {}, "--endpoint must be the endpoint's id"],
    [
      {},
      { RUNPOD_ENDPOINT_ID: "a/b" },
      'RUNPOD_ENDPOINT_ID must be the endpoint\'s id (letters, digits and dashes), not its address, got "a/b".',
    ],
    [{ baseUrl: "ftp://x" }, {}, '--base-url must be an http(s) address without query and credentials, got "ftp://x".'],
    [
      {},
      { RUNPOD_BASE_URL: "x" },
      'RUNPOD_BASE_URL must be an http(s) address without query and credentials, got "x".',
    ],
  ])("%j with %j names the place and what is right", (flags, more, message) => {
    expect(() => accessOf(flags, more)).toThrow(ConfigurationError);
    expect(() => accessOf(flags, more)).toThrow(message);
    expect(() => accessOf(flags, more)).not.toThrow("SECRET");
  });

  test("does not repeat the password of an address", () => {
    const refused = () => accessOf({}, { RUNPOD_BASE_URL: "https://me:hidden@x.test" });
    expect(refused).toThrow('got "https://…@x.test".');
    expect(refused).not.toThrow("hidden");
  });
});

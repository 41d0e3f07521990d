import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createArtist } from "../../../../src/local/artist/artist.ts";
import { endless, picture, run, stage, temporaryFolder } from "../fake-terminal.ts";

describe("a failure", () => {
  test.each([
    ["a wrong key", { apiKey: "another" }, 4, /The API key in RUNPOD_API_KEY is missing or wrong/],
    ["no such endpoint", { endpointId: "another" }, 6, /Check RUNPOD_ENDPOINT_ID and RUNPOD_BASE_URL/],
    [
      "a failing worker",
      {
        worker: () => {
          throw new Error("out of memory");
        },
      },
      11,
      /out of memory/,
    ],
    ["a worker without an image", { worker: () => ({ status: "error", message: "no VRAM" }) }, 15, /no VRAM/],
    ["a broken image", { worker: () => ({ ...picture, image_base64: "iVBORw0KGgo=" }) }, 19, /not a whole PNG/],
  ])("because of %s is one line and an exit code of its own", async (_, options, exit, message) => {
    const { finish } = await stage(options);
    const { code, stdout, stderr } = await finish(["generate", "an apple", "--quiet"]);
    expect({ code, stdout }).toEqual({ code: exit, stdout: "" });
    expect(stderr).toMatch(/^error: .*\n$/);
    expect(stderr).toMatch(message);
  });

  test.each([
    [{ HTTPS_PROXY: "http://proxy.test:3128" }, true],
    [{ https_proxy: "http://proxy.test:3128" }, true],
    // Node ignores this one in any case.
    [{ ALL_PROXY: "socks5://proxy.test" }, false],
    [{ HTTPS_PROXY: "http://proxy.test:3128", NODE_USE_ENV_PROXY: "0" }, true],
    [{ HTTPS_PROXY: "http://proxy.test:3128", RUNPOD_BASE_URL: "http://127.0.0.1:9/v2" }, false],
    [{ HTTPS_PROXY: "http://proxy.test:3128", NODE_USE_ENV_PROXY: "1" }, false],
    [{ HTTPS_PROXY: "http://proxy.test:3128", NODE_OPTIONS: "--use-env-proxy" }, false],
    [{}, false],
  ])("of the connection names a proxy that Node ignores: %j, %s", async (variables, isNamed) => {
    const { finish } = await stage();
    const env = { RUNPOD_API_KEY: "local", RUNPOD_ENDPOINT_ID: "local", RUNPOD_BASE_URL: "https://service.test/v2" };
    const fetch = () => Promise.reject(Object.assign(new TypeError("Proxy refused to open a tunnel: 403 No")));
    const { code, stderr } = await finish(["generate", "an apple", "--quiet"], {
      env: { ...env, ...variables },
      fetch,
    });
    expect(code).toBe(9);
    expect(stderr.includes("NODE_USE_ENV_PROXY=1")).toBe(isNamed);
    expect(stderr.includes("`layerdiffuse local` starts an endpoint")).toBe("RUNPOD_BASE_URL" in variables);
  });

  test.each(["out.jpg", "out.JPEG", "a/b.webp", "out.gif", "x.avif", "out.svg"])(
    "because %s is no name for a PNG comes before anything is sent",
    async (name) => {
      for (const argv of [
        ["generate", "an apple", "-o", name],
        ["result", "job-1", "-o", name],
      ]) {
        const { finish, endpoint } = await stage();
        const { code, stderr } = await finish(argv);
        expect(code).toBe(2);
        expect(stderr).toMatch(/Images are PNG files, .* Name it .*\.png/);
        expect(endpoint.requests).toEqual([]);
      }
    },
  );

  test.each([
    ["--queue-timeout", 16, { coldStart: 600_000 }],
    ["--timeout", 17, { worker: endless }],
  ])("by %s cancels the job and says so", async (flag, exit, options) => {
    const { finish, endpoint } = await stage(options);
    const { code, stderr } = await finish(["generate", "an apple", flag, "0.05"]);
    expect(code).toBe(exit);
    expect(endpoint.jobs()[0]?.status).toBe("CANCELLED");
    expect(stderr).toMatch(/error: Job .*\nCancelled job \S+\.\n$/);
  });

  test("that leaves the job running tells how to take it up", async () => {
    const { finish, endpoint } = await stage({ worker: endless });
    endpoint.faults.add({ operation: "status-sync", respond: { status: 401 }, skip: 1, times: 6 });
    const { code, stderr } = await finish(["generate", "an apple"]);
    const id = endpoint.jobs()[0]?.id;
    expect(code).toBe(4);
    expect(stderr).toContain(
      `To wait for it: layerdiffuse result ${id} -o output.png. To stop it: layerdiffuse cancel ${id}`,
    );
  });

  test("speaks of the program's options, not of the client's", async () => {
    const { finish, endpoint } = await stage({ coldStart: 600_000 });
    const late = await finish(["generate", "an apple", "--queue-timeout", "1"]);
    expect(late.stderr).toMatch(/within --queue-timeout \(1000 ms\)/);
    endpoint.faults.add({ operation: "run", respond: { status: 502 } });
    const unknown = await finish(["generate", "an apple"]);
    expect(unknown.code).toBe(10);
    expect(unknown.stderr).toMatch(/A job may exist: .* Look in the RunPod console first\.\n$/);
  });

  test.each([
    [{}, ["--endpoint", "wrong"], "Check --endpoint and RUNPOD_BASE_URL."],
    [{ RUNPOD_ENDPOINT_ID: "wrong" }, [], "Check RUNPOD_ENDPOINT_ID and RUNPOD_BASE_URL."],
  ])("names the place where a wrong value came from: %j %j", async (more, flags, message) => {
    const { finish, env } = await stage();
    const { code, stderr } = await finish(["generate", "an apple", ...flags], { env: { ...env, ...more } });
    expect({ code, stderr }).toEqual({ code: 6, stderr: expect.stringContaining(message) });
    const { RUNPOD_BASE_URL = "" } = env;
    const bothFlags = await finish(["health", "--endpoint", "wrong", "--base-url", RUNPOD_BASE_URL]);
    expect(bothFlags.stderr).toContain("Check --endpoint and --base-url.");
  });

  test.each([
    ["--preset", "generator_type", "icon_4d"],
    ["--sampler", "sampler_name", "Eular"],
    ["--scheduler", "scheduler", "Karas"],
  ])("of the worker about an input names %s, not %s", async (flag, field, value) => {
    const { finish, folder } = await stage({ worker: createArtist() });
    const { code, stderr } = await finish(["generate", "an apple", flag, value]);
    expect(code).toBe(11);
    expect(stderr).toMatch(new RegExp(`failed: ${flag} must be one of .*\\(got "${value}"\\)`));
    if (flag !== `--${field}`) expect(stderr).not.toContain(field);
    // In a list, the field of a line and the flag have one name.
    await writeFile(join(folder, "list.txt"), "an apple\n");
    const many = await finish(["generate", "--batch", "list.txt", "-o", "images", flag, value]);
    expect(many.stderr).toContain(`failed: ${flag.slice(2)} must be one of`);
  });

  test("about the input that the client refuses names the flag", async () => {
    const { finish, endpoint } = await stage();
    const { code, stderr } = await finish(["generate", "an apple", "--width", "4096", "--height", "4096"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: Invalid input\. --width: 4096 × 4096 is /m);
    expect(endpoint.requests).toEqual([]);
  });

  test.each([
    ["an answer that is lost", "run", { respond: { status: 502 } }],
    ["a job that is lost from sight", "status-sync", { respond: { status: 401 } }],
  ] as const)("by %s never advises to try again, which would be paid twice", async (_, operation, effect) => {
    const { finish, endpoint } = await stage({ worker: endless });
    endpoint.faults.add({ operation, times: 100, ...effect }, { operation: "status", times: 100, ...effect });
    const { stderr } = await finish(["generate", "an apple", "--quiet"]);
    expect(stderr).toMatch(/^error: /);
    expect(stderr).not.toMatch(/try again/i);
  });

  test("leaves a worker's own words alone, on one line", async () => {
    const message = "handler: baseUrl is not set\n  at queueTimeout";
    const worker = () => ({ status: "error", message });
    const { finish } = await stage({ worker });
    const { stdout, stderr } = await finish(["generate", "an apple", "--json"]);
    expect(stderr).toContain("handler: baseUrl is not set at queueTimeout.\n");
    expect(JSON.parse(stdout)).toMatchObject({ error: { message: expect.stringContaining(message) } });
  });

  test("advises on the program's options beside the service's own words", async () => {
    const worker = () => {
      throw new Error("executionTimeout exceeded");
    };
    const { finish } = await stage({ worker });
    const { code, stderr } = await finish(["generate", "an apple"]);
    expect(code).toBe(13);
    expect(stderr).toMatch(/: executionTimeout exceeded\. Raise --timeout, or ask for less\.$/m);
  });

  test("keeps the client's names with --json, for programs that know the client", async () => {
    const { finish } = await stage({ coldStart: 600_000 });
    const { stdout, stderr } = await finish(["generate", "an apple", "--queue-timeout", "1", "--json"]);
    expect(stderr).toContain("within --queue-timeout (1000 ms)");
    expect(JSON.parse(stdout)).toMatchObject({
      error: { message: expect.stringContaining("within queueTimeout (1000 ms)") },
    });
  });

  test("with --json is one object on stdout as well", async () => {
    const { finish } = await stage({ apiKey: "another" });
    const { stdout, stderr } = await finish(["generate", "an apple", "--json"]);
    const error = { code: "authentication", message: expect.any(String), status: 401 };
    expect(JSON.parse(stdout)).toEqual({ error });
    expect(stderr).toContain("error: ");
  });

  test("of a job that ran tells with --json what it cost", async () => {
    const worker = () => ({ status: "error", message: "no VRAM" });
    const { finish } = await stage({ worker });
    const { stdout } = await finish(["generate", "an apple", "--json", "--price-per-second", "1000"]);
    expect(JSON.parse(stdout)).toEqual({ error: expect.objectContaining({ cost: expect.any(Number) }) });
  });

  test("has a stack trace with DEBUG only, and the key in neither", async () => {
    const { finish, env } = await stage({ apiKey: "another" });
    const secret = { ...env, RUNPOD_API_KEY: "very-secret-key" };
    const plain = await finish(["generate", "an apple"], { env: secret });
    const debug = await finish(["generate", "an apple"], { env: { ...secret, DEBUG: "1" } });
    expect(plain.stderr).not.toContain("    at ");
    expect(debug.stderr).toContain("    at ");
    expect(plain.stderr + debug.stderr).not.toContain("very-secret-key");
  });

  test.each([
    ["endpoint", { RUNPOD_API_KEY: "key" }, /The endpoint is missing\. Set RUNPOD_ENDPOINT_ID or pass --endpoint/],
    ["key", { RUNPOD_ENDPOINT_ID: "id" }, /The API key is missing\. Set RUNPOD_API_KEY in the environment/],
  ])("for want of an %s says what to set", async (_, env, message) => {
    const { code, stderr } = run(["generate", "an apple"], { cwd: await temporaryFolder(), env });
    expect(await code).toBe(2);
    expect(stderr.text).toMatch(message);
  });

  test("an invalid setting names the nearest right one, and nothing is sent", async () => {
    const { finish, endpoint } = await stage();
    const { code, stderr } = await finish(["generate", "an apple", "--width", "1000"]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      "option '--width <px>' argument '1000' is invalid. It must be a multiple of 64 (nearest: 960, 1024).",
    );
    expect(endpoint.requests).toEqual([]);
  });
});

import { describe, expect, test } from "vitest";
import { createLocalEndpoint, type Fault } from "../../../src/local/index.ts";
import { settle } from "../../helpers/manual-clock.ts";
import { base, start } from "./local.ts";

const html = "<html>502 Bad Gateway</html>";

describe("which requests a fault spoils", () => {
  test.each<[string, Omit<Fault, "respond">, number[]]>([
    ["the first by default", {}, [500, 200, 200, 200]],
    ["as many as times says", { times: 2 }, [500, 500, 200, 200]],
    ["all", { times: Infinity }, [500, 500, 500, 500]],
    ["those after skip", { skip: 2 }, [200, 200, 500, 200]],
    ["those of its operation", { operation: "run" }, [200, 200, 200, 200]],
    ["those of its operations", { operation: ["run", "health"] }, [500, 200, 200, 200]],
  ])("%s", async (_, where, codes) => {
    const { ask, endpoint } = start();
    endpoint.faults.add({ respond: { status: 500 }, ...where });
    const seen: number[] = [];
    for (const _code of codes) seen.push((await ask("health")).status);
    expect(seen).toEqual(codes);
  });

  test("faults come in turn, may be given as an option, and are dropped by clear", async () => {
    const { ask, endpoint } = start({ faults: [{ respond: { status: 500 } }, { respond: { status: 502 } }] });
    endpoint.faults.add({ respond: { status: 503 }, times: Infinity });
    const codes = [await ask("health"), await ask("health"), await ask("health"), await ask("x")];
    expect(codes.map((reply) => reply.status)).toEqual([500, 502, 503, 503]);
    endpoint.faults.clear();
    expect((await ask("health")).status).toBe(200);
  });

  test("skip counts for each fault by itself", async () => {
    const { ask, endpoint } = start();
    endpoint.faults.add({ respond: { status: 500 }, skip: 1 }, { respond: { status: 502 } });
    const codes = [await ask("health"), await ask("health"), await ask("health")];
    expect(codes.map((reply) => reply.status)).toEqual([502, 500, 200]);
  });
});

describe("respond", () => {
  test.each<[object, number, string, string | null]>([
    [{ status: 429, headers: { "Retry-After": "3" } }, 429, "", null],
    [{ status: 502, body: html }, 502, html, "text/html"],
    [{ status: 200, body: "{" }, 200, "{", "text/plain"],
    [{ status: 200, body: { error: "x" } }, 200, '{"error":"x"}', "application/json"],
    [{ status: 200, body: "{}", headers: { "Content-Type": "application/json" } }, 200, "{}", "application/json"],
    [{ status: 204, body: "" }, 204, "", null],
  ])("%j is answered as it stands", async (respond, status, text, type) => {
    const { ask, endpoint } = start();
    endpoint.faults.add({ respond: { status: 500, ...respond } });
    const reply = await ask("health");
    expect([reply.status, reply.text, reply.headers.get("content-type")]).toEqual([status, text, type]);
    if (status === 429) expect(reply.headers.get("retry-after")).toBe("3");
  });
});

describe("a header that cannot be sent", () => {
  test.each<[string, Record<string, string>]>([
    ["a name with a space", { "x y": "1" }],
    ["an empty name", { "": "1" }],
    ["a line feed in the value", { x: "1\n2" }],
    ["a character beyond Latin-1", { x: "☃" }],
  ])("is refused when the fault is added: %s", async (_, headers) => {
    const fault: Fault = { respond: { status: 200, headers } };
    const { ask, endpoint } = start();
    expect(() => endpoint.faults.add(fault)).toThrow(TypeError);
    expect(() => createLocalEndpoint({ faults: [fault] })).toThrow(TypeError);
    expect((await ask("health")).status).toBe(200);
  });
});

describe("when", () => {
  const troubles: Fault[] = [{ respond: { status: 502, body: html } }, { reset: true }, { cut: true }, { hang: true }];
  test.each(troubles)("before: the job does not exist; after: it does, unknown to the caller: %j", async (trouble) => {
    for (const [when, jobs] of [
      ["before", 0],
      ["after", 1],
    ] as const) {
      const { ask, endpoint } = start();
      endpoint.faults.add({ ...trouble, operation: "run", when });
      const reply = ask("run", { input: { a: 1 } }).catch(() => {});
      await settle();
      expect(endpoint.jobs()).toHaveLength(jobs);
      expect(endpoint.requests).toHaveLength(1);
      await endpoint.close();
      await reply;
    }
  });

  test("a delay decides whether the job exists before or after it", async () => {
    const { ask, endpoint, clock } = start();
    endpoint.faults.add({ delay: 500, when: "after" }, { delay: 500 });
    const after = ask("run", { input: { a: 1 } });
    const before = ask("run", { input: { a: 1 } });
    await settle();
    expect([endpoint.jobs().length, endpoint.held]).toEqual([1, 2]);
    await clock.pass(499);
    expect(endpoint.held).toBe(2);
    await clock.pass(1);
    expect([endpoint.jobs().length, endpoint.held]).toEqual([2, 0]);
    expect([(await before).body.status, (await after).body.status]).toEqual(["IN_QUEUE", "IN_QUEUE"]);
  });
});

describe("broken connections, in process", () => {
  test("reset rejects as fetch does", async () => {
    const { ask, endpoint } = start();
    endpoint.faults.add({ reset: true });
    const error: unknown = await ask("health").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({ message: "fetch failed", cause: { code: "ECONNRESET" } });
  });

  test("cut gives the headers and half of the body", async () => {
    const { endpoint, run } = start();
    const id = await run();
    endpoint.faults.add({ cut: true, when: "after" });
    const response = await endpoint.fetch(`${base}/status/${id}`, { headers: { authorization: "local" } });
    expect(response.status).toBe(200);
    const reader = response.body?.getReader();
    const first = await reader?.read();
    expect(new TextDecoder().decode(first?.value)).toMatch(/^\{"delayTime":0,"id":"[0-9a-f-]+$/);
    await expect(reader?.read()).rejects.toThrow("terminated");
  });

  test("hang ends when the caller leaves", async () => {
    const { ask, endpoint, clock } = start();
    endpoint.faults.add({ hang: true });
    const controller = new AbortController();
    const reply = ask("health", undefined, { signal: controller.signal });
    await clock.pass(86_400_000);
    expect(endpoint.held).toBe(1);
    controller.abort(new Error("enough"));
    expect(endpoint.held).toBe(0);
    await expect(reply).rejects.toThrow("enough");
  });
});

describe("edit", () => {
  test("changes the true answer; text goes out as it is", async () => {
    const { ask, run, endpoint } = start();
    const id = await run();
    endpoint.faults.add(
      { edit: (body) => ({ ...(body as object), status: "RUNNING" }) },
      { edit: () => '{"output":NaN}' },
      { edit: (body) => body, operation: "status" },
    );
    expect((await ask(`status/${id}`)).body).toMatchObject({ id, status: "RUNNING" });
    expect((await ask(`status/${id}`)).text).toBe('{"output":NaN}');
    expect((await ask(`status/${id}`)).body).toMatchObject({ id, status: "IN_PROGRESS" });
  });

  test("gets text where the answer is no JSON", async () => {
    const { ask, endpoint } = start({ rates: { status: { perWindow: 0 } } });
    endpoint.faults.add({ edit: (body) => `<${String(body)}>` });
    expect((await ask("status/x")).text).toBe("<>");
  });

  test("that throws is a 500, and told to the log", async () => {
    const lines: string[] = [];
    const { ask, endpoint } = start({ onLog: (line) => lines.push(line) });
    endpoint.faults.add({
      edit: () => {
        throw new Error("oops");
      },
    });
    expect((await ask("health")).status).toBe(500);
    expect(lines[0]).toContain("oops");
  });
});

import { describe, expect, test } from "vitest";
import { createLocalEndpoint, type Fault, type LocalEndpointOptions } from "../../../src/local/index.ts";

/** What an untyped caller may hand over. */
const untyped = (options: object): LocalEndpointOptions => ({ worker: () => 1, ...options });

describe("createLocalEndpoint", () => {
  test.each<[object, string]>([
    [{ maxWorker: 1 }, "Wrong options: maxWorker is unknown; did you mean maxWorkers?"],
    [{ coldstart: 1 }, "coldstart is unknown; did you mean coldStart?"],
    [{ variants: { authErrors: "json" } }, "variants.authErrors is unknown; did you mean authError?"],
    [{ variants: { authError: "xml" } }, 'variants.authError must be "json" or "empty", got "xml"'],
    [{ variants: { retryAfter: true } }, 'must be false, "seconds" or "date", got true'],
    [{ maxWorkers: -1 }, "Wrong options: maxWorkers must be a whole number from 0 up, got -1."],
    [{ maxWorkers: 1.5 }, "must be a whole number"],
    [{ maxWorkers: Infinity }, "maxWorkers must be a whole number from 0 up, got Infinity"],
    [{ maxWorkers: "3" }, 'maxWorkers must be a whole number from 0 up, got "3"'],
    [{ minWorkers: 4 }, "minWorkers must be at most maxWorkers (3), got 4"],
    [{ coldStart: -1 }, "coldStart must be a number of milliseconds from 0 up, got -1"],
    [{ coldStart: Number.NaN }, "coldStart must be a number of milliseconds from 0 up, got NaN"],
    [{ throttled: "yes" }, "throttled must be true, false or a number of milliseconds from 0 up"],
    [{ crashLoop: 1 }, "crashLoop must be true or false, got 1"],
    [{ endpointId: "a/b" }, "endpointId must be text of letters, digits, - and _"],
    [{ endpointId: 3 }, "endpointId must be text"],
    [{ apiKey: "" }, "apiKey must be false or text without spaces"],
    [{ apiKey: true }, "apiKey must be false or text"],
    [{ worker: "python" }, "worker must be a function"],
    [{ clock: {} }, "clock must be an object with now, setTimeout and clearTimeout"],
    [{ rates: { runs: {} } }, "rates.runs is unknown; did you mean run?"],
    [{ rates: { run: { perWindow: -1 } } }, "rates.run.perWindow must be a whole number from 0 up, got -1"],
    [{ rates: true }, "rates must be an object"],
    [{ faults: {} }, "faults must be a list"],
    [{ faults: [{ reset: true, operation: "runs" }] }, 'faults.0.operation has no "runs"; did you mean run?'],
    [{ worker: { cmd: "python" } }, "worker.command is required; worker.cmd is unknown; "],
    [{ worker: { command: [] } }, "worker.command must be a command line, or a list of a program and its arguments"],
    [{ worker: { command: "x", env: { A: 1 } } }, "worker.env.A must be text without NUL, got 1"],
    [{ faults: [{ reset: true }, { hung: true }] }, "faults.1.hung is unknown; did you mean hang?"],
    [{ resultLimit: -1 }, "resultLimit must be a number of bytes from 0 up, got -1"],
    [{ onLog: 1 }, "onLog must be a function"],
  ])("refuses %j", (options, message) => {
    const create = () => createLocalEndpoint(untyped(options));
    expect(create).toThrow(message);
    expect(create).toThrow(TypeError);
  });

  test("names all wrong options at once", () => {
    expect(() => createLocalEndpoint(untyped({ maxWorkers: -1, coldstart: 5, variants: { health: "some" } }))).toThrow(
      new TypeError(
        'Wrong options: maxWorkers must be a whole number from 0 up, got -1; variants.health must be "full" or "two-fields", got "some"; coldstart is unknown; did you mean coldStart?',
      ),
    );
  });

  test("takes objects of any class, as process.env is one", async () => {
    const endpoint = createLocalEndpoint(untyped({ worker: { command: "true", env: process.env } }));
    const headers: Record<string, string> = Object.assign(Object.create({ inherited: true }), { "x-test": "1" });
    endpoint.faults.add({ respond: { status: 200, headers } });
    await endpoint.close();
  });

  test("skips variables of undefined for a worker, as Node's spawn does", async () => {
    const env = { ...process.env, REMOVED: undefined };
    await createLocalEndpoint(untyped({ worker: { command: "true", env } })).close();
    const typed: LocalEndpointOptions = { worker: { command: "true", env } };
    await createLocalEndpoint(typed).close();
  });

  test("takes an option of undefined as one not given", async () => {
    const undefinedOptions = untyped({ maxWorkers: undefined, clock: undefined, variants: { health: undefined } });
    const endpoint = createLocalEndpoint(undefinedOptions);
    const response = await endpoint.fetch("http://x/v2/local/health", { headers: { authorization: "local" } });
    expect(await response.json()).toMatchObject({ workers: { ready: 3 } });
    await endpoint.close();
  });

  test.each<[object, string]>([
    [{}, "fault must have exactly one of respond, reset, cut, delay, hang, edit, got none"],
    [{ reset: true, cut: true }, "got reset, cut"],
    [{ respond: { status: 99 } }, "fault.respond.status must be a whole number from 200 to 599, got 99"],
    [{ respond: { status: 200, headers: { a: 1 } } }, "fault.respond.headers.a must be text"],
    [{ respond: { status: 200, headers: { a: undefined } } }, "fault.respond.headers.a must be text"],
    [{ respond: { status: 200, body: 3 } }, "fault.respond.body must be text or an object"],
    [{ reset: false }, "fault.reset must be true, got false"],
    [{ delay: -1 }, "fault.delay must be a number of milliseconds from 0 up, got -1"],
    [{ hang: true, times: 0 }, "fault.times must be a whole number from 1 up, got 0"],
    [{ hang: true, skip: -1 }, "fault.skip must be a whole number from 0 up, got -1"],
    [{ hang: true, when: "later" }, 'fault.when must be "before" or "after", got "later"'],
    [{ hung: true }, "fault.hung is unknown; did you mean hang?"],
    [{ edit: "x" }, "fault.edit must be a function"],
  ])("refuses the fault %j", (fault, message) => {
    const endpoint = createLocalEndpoint(untyped({}));
    expect(() => endpoint.faults.add(fault as Fault)).toThrow(message);
  });

  test("has a fetch that can stand in for the global one, apart from its endpoint", async () => {
    const endpoint = createLocalEndpoint(untyped({ apiKey: false }));
    const ask: typeof fetch = endpoint.fetch;
    expect((await ask(new URL("http://x/v2/local/health"))).status).toBe(200);
    expect((await ask(new Request("http://x/v2/local/health"))).status).toBe(200);
    await endpoint.close();
  });

  test("can be imported and created without anything happening", () => {
    expect(createLocalEndpoint(untyped({})).url).toBeUndefined();
  });
});

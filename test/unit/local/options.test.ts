import { describe, expect, test } from "vitest";
import { createLocalEndpoint, type Fault, type LocalEndpointOptions } from "../../../src/local/index.ts";

/** What an untyped caller may hand over. */
const untyped = (options: object): LocalEndpointOptions => ({ worker: () => 1, ...options });

describe("createLocalEndpoint", () => {
  test.each<[object, string]>([
    [{ maxWorker: 1 }, 'options has no "maxWorker"; did you mean "maxWorkers"?'],
    [{ coldstart: 1 }, 'did you mean "coldStart"?'],
    [{ variants: { authErrors: "json" } }, 'options.variants has no "authErrors"; did you mean "authError"?'],
    [{ variants: { authError: "xml" } }, 'options.variants.authError must be one of "json", "empty", got "xml"'],
    [{ variants: { retryAfter: true } }, 'must be one of false, "seconds", "date", got true'],
    [{ maxWorkers: -1 }, "options.maxWorkers must be a whole number of at least 0, got -1"],
    [{ maxWorkers: 1.5 }, "must be a whole number"],
    [{ maxWorkers: Infinity }, "must be finite"],
    [{ maxWorkers: "3" }, 'options.maxWorkers must be a number, got "3"'],
    [{ minWorkers: 4 }, "options.minWorkers must be at most maxWorkers (3), got 4"],
    [{ coldStart: -1 }, "options.coldStart must be at least 0 ms, got -1"],
    [{ coldStart: Number.NaN }, "options.coldStart must be at least 0 ms, got NaN"],
    [{ throttled: "yes" }, "options.throttled must be a number of milliseconds"],
    [{ crashLoop: 1 }, "options.crashLoop must be true or false, got 1"],
    [{ endpointId: "a/b" }, "options.endpointId must be text of letters, digits, - and _"],
    [{ endpointId: 3 }, "options.endpointId must be text"],
    [{ apiKey: "" }, "options.apiKey must be false or text without spaces"],
    [{ apiKey: true }, "options.apiKey must be false or text"],
    [{ worker: "python" }, "options.worker must be a function"],
    [{ clock: {} }, "options.clock must have now, setTimeout and clearTimeout"],
    [{ rates: { runs: {} } }, 'options.rates has no "runs"; did you mean "run"?'],
    [{ rates: { run: { perWindow: -1 } } }, "options.rates.run.perWindow must be"],
    [{ rates: true }, "options.rates must be an object, got true"],
    [{ faults: {} }, "options.faults must be an array"],
    [{ faults: [{ reset: true, operation: "runs" }] }, 'fault.operation has no "runs"; did you mean "run"?'],
    [{ onLog: 1 }, "options.onLog must be a function"],
  ])("refuses %j", (options, message) => {
    expect(() => createLocalEndpoint(untyped(options))).toThrow(message);
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
    [{ respond: { status: 200, headers: { a: 1 } } }, "fault.respond.headers must be an object of texts"],
    [{ respond: { status: 200, body: 3 } }, "fault.respond.body must be text or an object"],
    [{ reset: false }, "fault.reset must be one of true, got false"],
    [{ delay: -1 }, "fault.delay must be at least 0 ms"],
    [{ hang: true, times: 0 }, "fault.times must be a whole number of at least 1"],
    [{ hang: true, skip: -1 }, "fault.skip must be"],
    [{ hang: true, when: "later" }, 'fault.when must be one of "before", "after"'],
    [{ hung: true }, 'fault has no "hung"; did you mean "hang"?'],
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

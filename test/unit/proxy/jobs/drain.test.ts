import { getEventListeners } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { unlessDrained } from "../../../../src/proxy/jobs/drain.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { until } from "../../../helpers/manual-clock.ts";
import { bodyOf, proxyStage, textOf } from "../../../helpers/proxy.ts";

const prompt = "a red apple";

/** A server that may stop. */
function stoppable() {
  const [closing, drain] = [new AbortController(), new AbortController()];
  return { closing, drain, stopping: { closing: closing.signal, drain: drain.signal } };
}

describe("unlessDrained", () => {
  it("gives what the work gives, or what it throws, and leaves no listener behind", async () => {
    const [drain, caller] = [new AbortController(), new AbortController()];
    const listeners = () => [drain, caller].map(({ signal }) => getEventListeners(signal, "abort").length);
    const counts: number[][] = [];
    expect(
      await unlessDrained(drain.signal, caller.signal, async () => {
        counts.push(listeners());
        return 1;
      }),
    ).toBe(1);
    await expect(unlessDrained(drain.signal, caller.signal, () => Promise.reject(new Error("no")))).rejects.toThrow(
      "no",
    );
    expect([...counts, listeners()]).toEqual([
      [1, 1],
      [0, 0],
    ]);
  });

  it("ends the waiting, and the work, as the callers are let go; afterwards it begins none", async () => {
    const { drain } = stoppable();
    const caller = new AbortController();
    let given: AbortSignal | undefined;
    let begun = 0;
    const work = (signal: AbortSignal) => {
      begun++;
      given = signal;
      return new Promise<number>(() => {});
    };
    const waiting = unlessDrained(drain.signal, caller.signal, work);
    drain.abort();
    expect([await waiting, given?.aborted]).toEqual([undefined, true]);
    expect([await unlessDrained(drain.signal, caller.signal, work), begun]).toEqual([undefined, 1]);
  });

  it("ends the work as its caller leaves, with the caller's reason", async () => {
    const { drain } = stoppable();
    const caller = new AbortController();
    const deaf = deferred<unknown>();
    const work = (signal: AbortSignal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    unlessDrained(drain.signal, caller.signal, work).catch(deaf.resolve);
    const reason = new Error("gone");
    caller.abort(reason);
    expect(await deaf.promise).toBe(reason);
  });

  it("warns of nothing where many wait", async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => warnings.push(message);
    process.on("warning", onWarning);
    onTestFinished(() => void process.off("warning", onWarning));
    const { drain } = stoppable();
    const work = () => new Promise<number>(() => {});
    const all = Array.from({ length: 300 }, () => unlessDrained(drain.signal, new AbortController().signal, work));
    drain.abort();
    await Promise.all(all);
    await new Promise(setImmediate);
    expect(warnings).toEqual([]);
  });
});

describe("a proxy whose server stops", () => {
  it("refuses new requests before it asks anybody anything, and says that nothing was submitted", async () => {
    const { closing, stopping } = stoppable();
    const { post, get, calls } = await proxyStage({}, {}, stopping);
    closing.abort();
    for (const path of ["run", "runsync", "alpha/v1/txt2img"]) {
      const refused = await post(path, { input: { prompt }, prompt });
      expect([refused.status, refused.headers.get("retry-after")], path).toEqual([503, "1"]);
      expect(await bodyOf(refused)).toMatchObject({ code: "server", submitted: "no" });
    }
    expect((await get("health")).status).toBe(503);
    expect(calls()).toEqual([]);
  });

  it("answers a held request with the job's state, and one for an image with the job's address", async () => {
    const { drain, stopping } = stoppable();
    const { ask, post, drive, endpoint } = await proxyStage({ maxWorkers: 0 }, {}, stopping);
    const id = await textOf(await post("run", { input: { prompt } }), "id");
    const init = (body: object) => ({
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const held = [
      ask(`status-sync/${id}?wait=60000`),
      ask("runsync?wait=60000", init({ input: { prompt } })),
      ask("alpha/v1/txt2img", init({ prompt })),
    ];
    await until(() => endpoint.held === 3);
    drain.abort();
    const [statusSync, runsync, txt2img] = await drive(Promise.all(held));
    expect([statusSync?.status, runsync?.status, txt2img?.status]).toEqual([200, 200, 202]);
    expect(statusSync && (await bodyOf(statusSync))).toMatchObject({ id, status: "IN_QUEUE" });
    expect(runsync && (await bodyOf(runsync))).toMatchObject({ status: "IN_QUEUE" });
    const { pathname } = new URL(txt2img?.headers.get("location") ?? "", "https://app.test");
    expect(pathname).toMatch(/\/alpha\/v1\/job\/v1\./);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(Array(3).fill("IN_QUEUE"));
  });

  it("does not wait long for the state: a runsync then tells what it knew, a status-sync asks to come back", async () => {
    const { drain, stopping } = stoppable();
    const faults = [{ operation: "status", hang: true, times: 9 }] as const;
    const { ask, post, drive, endpoint, clock } = await proxyStage(
      { maxWorkers: 0, faults: [...faults] },
      {},
      stopping,
    );
    const id = await textOf(await post("run", { input: { prompt } }), "id");
    const headers = { "content-type": "application/json" };
    const held = [
      ask(`status-sync/${id}?wait=60000`),
      ask("runsync?wait=60000", { method: "POST", headers, body: JSON.stringify({ input: { prompt } }) }),
    ];
    await until(() => endpoint.held === 2);
    const before = clock.now();
    drain.abort();
    const [statusSync, runsync] = await drive(Promise.all(held));
    expect([statusSync?.status, statusSync?.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(runsync && (await bodyOf(runsync))).toMatchObject({ status: "IN_QUEUE" });
    expect(clock.now() - before).toBeLessThanOrEqual(500);
  });
});

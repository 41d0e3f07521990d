import { describe, expect, it, vi } from "vitest";
import { Call, type OnProgress, type Progress } from "../../../src/runpod/progress.ts";
import { thrownBy } from "../../helpers/failures.ts";
import { ManualClock, turns } from "../../helpers/manual-clock.ts";

function watched(onProgress?: OnProgress, signal?: AbortSignal) {
  const clock = new ManualClock();
  const seen: Progress[] = [];
  const report = (progress: Progress) => {
    seen.push(progress);
    return onProgress?.(progress);
  };
  return { clock, seen, call: new Call(clock, signal, report) };
}

describe("report", () => {
  it("tells phase, details and the time since the call began", () => {
    const { call, clock, seen } = watched();
    call.report("submitting");
    clock.advance(1_500);
    call.report("queued", { jobId: "job-1", queue: 3 });
    expect(seen).toEqual([
      { phase: "submitting", elapsed: 0 },
      { phase: "queued", elapsed: 1_500, jobId: "job-1", queue: 3 },
    ]);
  });

  it("tells each change once", () => {
    const { call, clock, seen } = watched();
    for (let count = 0; count < 3; count++) {
      call.report("running", { jobId: "job-1", step: 1, steps: 20 });
      clock.advance(1_000);
    }
    call.report("running", { jobId: "job-1", step: 2, steps: 20 });
    expect(seen.map(({ step }) => step)).toEqual([1, 2]);
  });

  it("never goes back, but from a lost worker to the queue", () => {
    const { call, seen } = watched();
    for (const phase of [
      "submitting",
      "queued",
      "throttled",
      "starting",
      "queued",
      "running",
      "queued",
      "submitting",
      "decoding",
      "running",
      "done",
    ] as const) {
      call.report(phase);
    }
    expect(seen.map(({ phase }) => phase)).toEqual([
      "submitting",
      "queued",
      "throttled",
      "starting",
      "queued",
      "running",
      "queued",
      "decoding",
      "done",
    ]);
  });

  it("tells nothing after the end", () => {
    const { call, seen } = watched();
    call.end();
    call.report("done");
    expect(seen).toEqual([]);
  });

  it("tells nothing after an abort", () => {
    const controller = new AbortController();
    const { call, seen } = watched(undefined, controller.signal);
    controller.abort("stop");
    call.report("running");
    expect(seen).toEqual([]);
  });

  it("throws what the callback throws, and aborts the call with it", () => {
    const failed = new Error("callback failed");
    const { call } = watched(() => {
      throw failed;
    });
    expect(thrownBy(() => call.report("queued"))).toBe(failed);
    expect(call.signal.reason).toBe(failed);
  });

  it("aborts the call with what the callback rejects with", async () => {
    const failed = new Error("callback failed");
    const { call } = watched(() => Promise.reject(failed));
    call.report("queued");
    await turns(1);
    expect(call.signal.reason).toBe(failed);
  });

  it("takes a callback that returns something else, as push does", () => {
    const seen: Progress[] = [];
    // Callers without types do this: `onProgress: (progress) => seen.push(progress)`.
    const push = ((progress: Progress) => seen.push(progress)) as unknown as OnProgress;
    const call = new Call(new ManualClock(), undefined, push);
    call.report("queued");
    call.report("running");
    expect(seen).toHaveLength(2);
    expect(call.signal.aborted).toBe(false);
  });

  it("without a callback does nothing", () => {
    const call = new Call(new ManualClock());
    expect(call.isWatched).toBe(false);
    expect(() => call.report("queued")).not.toThrow();
  });
});

describe("the signal", () => {
  it.each([new Error("stop"), "stop", null])("aborts as the caller's does, with the reason %o", (reason) => {
    const controller = new AbortController();
    const { call } = watched(undefined, controller.signal);
    expect(call.signal.aborted).toBe(false);
    controller.abort(reason);
    expect(call.signal.reason).toBe(reason);
    expect(watched(undefined, controller.signal).call.signal.reason).toBe(reason);
  });

  it("lets go of the caller's at the end", () => {
    const controller = new AbortController();
    const remove = vi.spyOn(controller.signal, "removeEventListener");
    const { call } = watched(undefined, controller.signal);
    call.end();
    controller.abort("too late");
    expect(call.signal.aborted).toBe(false);
    expect(remove).toHaveBeenCalledOnce();
  });
});

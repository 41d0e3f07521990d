import { describe, expect, it } from "vitest";
import type { StreamPart } from "../../../src/protocol/answers.ts";
import { streamJob } from "../../../src/runpod/stream.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { ManualClock, turns } from "../../helpers/manual-clock.ts";

/** Reads that answer with each part in turn, `held` milliseconds after they were asked. */
function makeReads(parts: (StreamPart | Error)[], held = 0) {
  const clock = new ManualClock();
  const waits: number[] = [];
  const read = async (wait: number) => {
    waits.push(wait);
    clock.advance(held);
    const part = parts.shift();
    if (!part) throw new Error("There is nothing more to read.");
    if (part instanceof Error) throw part;
    return part;
  };
  return { clock, waits, read };
}

async function drain(stream: AsyncGenerator<unknown, string>) {
  const chunks: unknown[] = [];
  for (;;) {
    const next = await stream.next();
    if (next.done) return { chunks, status: next.value };
    chunks.push(next.value);
  }
}

/** For bodies that tell their status. */
const unasked = () => Promise.reject(new Error("The status was asked for though it was known."));

const running = (...outputs: unknown[]) => ({ status: "IN_PROGRESS", outputs });

describe("streamJob", () => {
  it("yields the chunks in order and returns the last status", async () => {
    const { clock, waits, read } = makeReads([running("a", "b"), running("c"), { status: "COMPLETED", outputs: [] }]);
    expect(await clock.drive(drain(streamJob(read, unasked, clock)))).toEqual({
      chunks: ["a", "b", "c"],
      status: "COMPLETED",
    });
    expect(waits).toEqual([10_000, 10_000, 10_000]);
    expect(clock.delays).toEqual([]);
  });

  it("yields chunks that come with the end, and reads until nothing is left", async () => {
    const { clock, read } = makeReads([
      { status: "COMPLETED", outputs: [1, null] },
      { status: "COMPLETED", outputs: [2] },
      { status: "COMPLETED", outputs: [] },
    ]);
    expect(await clock.drive(drain(streamJob(read, unasked, clock)))).toEqual({
      chunks: [1, null, 2],
      status: "COMPLETED",
    });
  });

  it.each(["FAILED", "CANCELLED", "TIMED_OUT"])("ends on %s", async (status) => {
    const { clock, read } = makeReads([running(), { status, outputs: [] }]);
    expect(await clock.drive(drain(streamJob(read, unasked, clock)))).toEqual({ chunks: [], status });
  });

  it("goes on through a status it does not know", async () => {
    const { clock, read } = makeReads([
      { status: "RUNNING", outputs: [] },
      { status: "COMPLETED", outputs: [] },
    ]);
    expect((await clock.drive(drain(streamJob(read, unasked, clock)))).status).toBe("COMPLETED");
  });

  it("asks for the status where an empty body does not tell it", async () => {
    const { clock, read } = makeReads([{ outputs: ["a"] }, { outputs: [] }, { outputs: ["b"] }, { outputs: [] }]);
    const statuses = ["IN_PROGRESS", "COMPLETED"];
    const stream = streamJob(read, async () => statuses.shift() ?? "gone", clock);
    expect(await clock.drive(drain(stream))).toEqual({ chunks: ["a", "b"], status: "COMPLETED" });
  });

  it("never asks in a circle where the server does not hold the request", async () => {
    const { clock, read } = makeReads(
      [running(), running(), running("a"), running(), { status: "COMPLETED", outputs: [] }],
      40,
    );
    await clock.drive(drain(streamJob(read, unasked, clock)));
    expect(clock.delays).toEqual([210, 210, 210]);
  });

  it("asks again at once where the server held the request", async () => {
    const { clock, read } = makeReads([running(), running(), { status: "COMPLETED", outputs: [] }], 10_000);
    await clock.drive(drain(streamJob(read, unasked, clock)));
    expect(clock.delays).toEqual([]);
  });

  it("rejects with the error of a read", async () => {
    const failed = new Error("lost");
    const { clock, read } = makeReads([running("a"), failed]);
    const stream = streamJob(read, unasked, clock);
    expect((await stream.next()).value).toBe("a");
    expect(await rejectionOf(stream.next())).toBe(failed);
  });

  it("reads no further while nobody asks", async () => {
    const { clock, waits, read } = makeReads([running("a"), running("b")]);
    const stream = streamJob(read, unasked, clock);
    await stream.next();
    await turns();
    expect(waits).toHaveLength(1);
  });

  it("rejects with the reason of an abort in a pause, and leaves no timer", async () => {
    const { clock, read } = makeReads([running()]);
    const controller = new AbortController();
    const next = rejectionOf(streamJob(read, unasked, clock, controller.signal).next());
    await turns();
    expect(clock.pending).toBe(1);
    controller.abort("stop");
    expect(await next).toBe("stop");
    expect(clock.pending).toBe(0);
  });
});

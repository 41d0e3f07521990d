import { describe, expect, it, onTestFinished, vi } from "vitest";
import { MemoryJobStore, removalMemory } from "../../../../src/proxy/access/job-store.ts";
import { redisJobs } from "../../../../src/proxy/index.ts";
import { jobStoreCases } from "../../../helpers/job-store-cases.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";

describe("callers' places in memory", () => {
  jobStoreCases(async () => {
    const clock = new ManualClock();
    return { store: new MemoryJobStore(clock), pass: async (milliseconds) => clock.advance(milliseconds) };
  });

  it("are forgotten with their callers, however many there were", async () => {
    const clock = new ManualClock();
    const store = new MemoryJobStore(clock);
    for (let index = 0; index <= 10_000; index++) await store.add(`${index}`, "entry", 1, 60_000);
    clock.advance(60_000);
    const forget = vi.spyOn(Map.prototype, "delete");
    onTestFinished(() => forget.mockRestore());
    await store.add("last", "entry", 1, 60_000);
    expect(forget.mock.calls.length).toBeGreaterThan(10_000);
  });

  it("remember the last thousand removals of entries that are yet to come", async () => {
    const store = new MemoryJobStore(new ManualClock());
    await store.add("a", "place", 9, 60_000);
    for (let index = 0; index <= 1_000; index++) await store.remove("a", `${index}`);
    for (const entry of ["0", "1", "1000"]) await store.replace("a", "place", entry, 60_000);
    expect((await store.add("a", "look", 0, 1)).entries).toEqual(["0"]);
  });

  it("remember removals for longer than a submission may take", () => {
    expect(removalMemory).toBeGreaterThan(2 * 30_000);
  });
});

describe("callers' places in Redis", () => {
  it("are one script for each step, with the caller's two keys in one slot", async () => {
    const sent: string[][] = [];
    const store = redisJobs(
      async (command) => {
        sent.push(command);
        return [1, ["job:one"]];
      },
      { prefix: "mine" },
    );
    expect(await store.add("caller", "job:one", 4, 1_000)).toEqual({ isAdded: true, entries: ["job:one"] });
    await store.replace("caller", "place", "job:one", 2_000);
    await store.remove("caller", "job:one");
    expect(sent.map(([name, , ...rest]) => [name, ...rest])).toEqual([
      ["EVAL", "2", "mine:{caller}", "mine:{caller}:ended", "job:one", "4", "1000"],
      ["EVAL", "2", "mine:{caller}", "mine:{caller}:ended", "place", "job:one", "2000"],
      ["EVAL", "2", "mine:{caller}", "mine:{caller}:ended", "job:one", String(removalMemory)],
    ]);
  });

  it.each([["OK"], [null], [[1]], [["1", []]]])("are not taken from a reply that is none: %j", async (reply) => {
    await expect(redisJobs(async () => reply).add("caller", "entry", 1, 1)).rejects.toThrow(TypeError);
  });
});

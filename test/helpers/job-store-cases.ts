import { expect, it } from "vitest";
import type { JobStore } from "../../src/proxy/index.ts";

/** A store, and a way to let time pass for it. */
export interface StoreUnderTest {
  store: JobStore;
  pass(milliseconds: number): Promise<void>;
}

/** What must be so of every store of callers' places. */
export function jobStoreCases(open: () => Promise<StoreUnderTest>): void {
  const fill = async (store: JobStore, ...entries: string[]) => {
    const added: boolean[] = [];
    for (const entry of entries) added.push((await store.add("alice", entry, 2, 60_000)).isAdded);
    return added;
  };
  const entriesOf = async (store: JobStore) => {
    const { isAdded, entries } = await store.add("alice", "look", 0, 1_000);
    expect(isAdded).toBe(false);
    return [...entries].sort();
  };

  it("are as many as there may be, for each caller", async () => {
    const { store } = await open();
    expect(await fill(store, "one", "two", "three")).toEqual([true, true, false]);
    expect((await store.add("bob", "three", 2, 60_000)).isAdded).toBe(true);
    expect(await entriesOf(store)).toEqual(["one", "two"]);
  });

  it("are given out once, however many ask in the same moment", async () => {
    const { store } = await open();
    const asking = Array.from({ length: 20 }, (_, index) => store.add("alice", `${index}`, 2, 60_000));
    expect((await Promise.all(asking)).filter(({ isAdded }) => isAdded)).toHaveLength(2);
  });

  it("are the same when asked for twice", async () => {
    const { store } = await open();
    expect(await fill(store, "one", "two", "one")).toEqual([true, true, true]);
    expect(await entriesOf(store)).toEqual(["one", "two"]);
  });

  it("are free when their time is over, each by itself", async () => {
    const { store, pass } = await open();
    await store.add("alice", "short", 2, 300);
    await store.add("alice", "long", 2, 60_000);
    await pass(400);
    expect(await entriesOf(store)).toEqual(["long"]);
  });

  it("last longer when they are renewed", async () => {
    const { store, pass } = await open();
    await store.add("alice", "one", 2, 300);
    await store.replace("alice", "one", "one", 60_000);
    await pass(400);
    expect(await entriesOf(store)).toEqual(["one"]);
  });

  it("go from one entry to another, whether or not the first is still there", async () => {
    const { store } = await open();
    await fill(store, "one");
    await store.replace("alice", "one", "job", 60_000);
    await store.replace("alice", "lost", "other job", 60_000);
    await store.replace("alice", "lost", "other job", 60_000);
    expect(await entriesOf(store)).toEqual(["job", "other job"]);
    expect(await fill(store, "two")).toEqual([false]);
  });

  it("are free when their entry is removed, once or twice", async () => {
    const { store } = await open();
    await fill(store, "one", "two");
    await store.remove("alice", "one");
    await store.remove("alice", "one");
    await store.remove("alice", "never there");
    expect(await entriesOf(store)).toEqual(["two"]);
  });

  it("are not taken by an entry that was removed before it came", async () => {
    const { store } = await open();
    await fill(store, "one");
    await store.remove("alice", "job");
    await store.replace("alice", "one", "job", 60_000);
    await store.replace("alice", "one", "job", 60_000);
    expect(await entriesOf(store)).toEqual([]);
    await store.add("bob", "one", 2, 60_000);
    await store.replace("bob", "one", "job", 60_000);
    expect((await store.add("bob", "look", 0, 1_000)).entries).toEqual(["job"]);
  });
}

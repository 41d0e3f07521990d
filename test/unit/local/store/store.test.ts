import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import type { StoredJob } from "../../../../src/local/jobs/job-record.ts";
import { loadSqlite } from "../../../../src/local/store/sqlite.ts";
import { Store } from "../../../../src/local/store/store.ts";
import { storedJob } from "./stored-job.ts";

const writer = fileURLToPath(new URL("store-writer.ts", import.meta.url));

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "store-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function open(folder: string): Store {
  const store = Store.open(folder);
  onTestFinished(() => store.close());
  return store;
}

/** What another endpoint finds in the folder. */
function reopened(store: Store, folder: string): StoredJob[] {
  store.close();
  return open(folder).load();
}

function exec(folder: string, statements: string): void {
  const database = new (loadSqlite().DatabaseSync)(join(folder, "jobs.sqlite"));
  database.exec(statements);
  database.close();
}

function sizeOf(folder: string, name: string): number {
  return statSync(join(folder, name)).size;
}

describe("a store", () => {
  test("is a folder and a file that only their owner can read", () => {
    const folder = join(temporaryFolder(), "made", "too");
    const store = open(folder);
    store.create(storedJob());
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, "..")).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(folder))
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
    store.close();
    expect(readdirSync(folder)).toEqual(["jobs.sqlite"]);
  });

  test("begins empty, and is as it was left when opened again", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    expect(store.load()).toEqual([]);
    expect(reopened(store, folder)).toEqual([]);
  });

  test("gives every part of a job back", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    const bare = storedJob({ order: 1, id: "sync-1-u1", sync: true });
    const full = storedJob({
      order: 2,
      createdAt: 1_700_000_000_000.25,
      queuedAt: 1_700_000_000_001.5,
      expiresAt: Number.POSITIVE_INFINITY,
      webhook: "http://127.0.0.1/\0\ud800",
      s3Config: { accessId: "a", nested: [1, null] },
      executionTimeout: 5_000.5,
      ttl: 86_400_000,
      lowPriority: true,
    });
    store.create(bare);
    store.create(full);
    const later = { startedAt: 1_700_000_000_002.75, endedAt: 1_700_000_000_003.125, retries: 1, workerId: "w1" };
    const ended = { ...full, ...later, status: "FAILED" as const, output: '{"half":1}', error: '"it broke"' };
    store.addChunks(full, ['"one"', '{"two":2}']);
    store.end(ended);
    expect(reopened(store, folder)).toEqual([bare, { ...ended, chunks: ['"one"', '{"two":2}'] }]);
  });

  test("gives jobs back in the order of their arrival, whatever became of them", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    for (const order of [11, 3, 100, 20, 0]) store.create(storedJob({ order, id: `${100 - order}` }));
    store.end(storedJob({ order: 3, status: "COMPLETED" }));
    store.update(storedJob({ order: 0, status: "IN_PROGRESS" }));
    expect(reopened(store, folder).map(({ order }) => order)).toEqual([0, 3, 11, 20, 100]);
  });

  test.each(["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"] as const)(
    "keeps the state %s",
    (status) => {
      const folder = temporaryFolder();
      const store = open(folder);
      store.create(storedJob());
      store.update(storedJob({ status }));
      expect(reopened(store, folder)).toEqual([storedJob({ status })]);
    },
  );

  test("keeps texts to the letter: NaN, escaped halves of a pair, spaces, any script", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    const output = '{ "a":NaN , "b": [-Infinity,1e999],\n"c":"\\ud800 \\u0000 \u2028 é 猫 😺 \'\' :id ?1" }';
    store.create(storedJob({ input: output }));
    store.addChunks(storedJob(), [output]);
    store.end(storedJob({ input: output, output, error: output }));
    expect(reopened(store, folder)).toEqual([storedJob({ input: output, output, error: output, chunks: [output] })]);
  });

  test("forgets the input of a job that ended and has none any more, and no other", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    const [done, failed] = [storedJob({ order: 1 }), storedJob({ order: 2 })];
    store.create(done);
    store.create(failed);
    store.end({ ...done, status: "COMPLETED", input: "" });
    store.end({ ...failed, status: "FAILED" });
    expect(reopened(store, folder).map(({ input }) => input)).toEqual(["", failed.input]);
  });

  test("leaves result and stream as they are when only the state changes", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    store.create(storedJob());
    store.addChunks(storedJob(), ["1"]);
    store.end(storedJob({ status: "COMPLETED", output: "2" }));
    store.update(storedJob({ status: "COMPLETED", expiresAt: 5 }));
    expect(reopened(store, folder)).toEqual([
      storedJob({ status: "COMPLETED", expiresAt: 5, output: "2", chunks: ["1"] }),
    ]);
  });

  test("forgets result and stream of a job that starts over, but not its input", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    store.create(storedJob());
    store.addChunks(storedJob(), ["1"]);
    store.end(storedJob({ status: "FAILED", output: "2", error: "3" }));
    store.restart(storedJob({ queuedAt: 7 }));
    expect(reopened(store, folder)).toEqual([storedJob({ queuedAt: 7 })]);
  });

  test("keeps of a stream what no reader took, in order", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    const [one, other] = [storedJob({ order: 1 }), storedJob({ order: 2 })];
    store.create(one);
    store.create(other);
    store.addChunks(other, ["8", "9"]);
    store.addChunks(one, ["0"]);
    store.clearChunks(one);
    const chunks = Array.from({ length: 12 }, (_, place) => String(place));
    for (const chunk of chunks) store.addChunks(one, [chunk]);
    expect(reopened(store, folder).map((job) => job.chunks)).toEqual([chunks, ["8", "9"]]);
  });

  test("keeps nothing of a deleted job, nor of what comes for it later", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    const [gone, kept] = [storedJob({ order: 1 }), storedJob({ order: 2, chunks: ["2"] })];
    store.create(gone);
    store.create(kept);
    store.addChunks(gone, ["1"]);
    store.addChunks(kept, ["2"]);
    store.delete(gone);
    store.delete(gone);
    store.update(gone);
    store.addChunks(gone, ["1"]);
    store.end({ ...gone, output: "1", error: "1" });
    store.restart(gone);
    expect(reopened(store, folder)).toEqual([kept]);
  });

  test("refuses a second job in the place of another, and keeps the first", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    store.create(storedJob());
    expect(() => store.create(storedJob({ id: "other", input: "other" }))).toThrow(
      /jobs\.sqlite cannot be used \(UNIQUE/,
    );
    store.update(storedJob({ retries: 1 }));
    expect(reopened(store, folder)).toEqual([storedJob({ retries: 1 })]);
  });

  test("takes results of 20 MB, and does not write them again with each change of state", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    const large = JSON.stringify("é".repeat(10_000_000));
    const job = storedJob({ output: large, chunks: [large] });
    store.create(storedJob());
    store.addChunks(job, [large]);
    store.end(job);
    for (let retries = 1; retries <= 20; retries++) store.update(storedJob({ retries }));
    expect(sizeOf(folder, "jobs.sqlite-wal")).toBeLessThan(5_000_000);
    // Not by a matcher, which would take its time to show two such texts.
    const [found] = reopened(store, folder);
    expect(found?.retries).toBe(20);
    expect(found?.output === large).toBe(true);
    expect(found?.chunks[0] === large).toBe(true);
  });

  test("does not grow for ever, and shrinks when large jobs are gone", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    const output = JSON.stringify("x".repeat(50_000));
    for (let order = 0; order < 1_000; order++) {
      store.create(storedJob({ order }));
      store.end(storedJob({ order, input: "", output }));
      if (order >= 20) store.delete(storedJob({ order: order - 20 }));
    }
    // Twenty jobs of 52 KB, the spare pages, and no more of the 50 MB that went through.
    expect(sizeOf(folder, "jobs.sqlite")).toBeLessThan(8_000_000);
    expect(sizeOf(folder, "jobs.sqlite-wal")).toBeLessThan(8_000_000);
    for (let order = 1_000; order < 1_400; order++) {
      store.create(storedJob({ order }));
      store.end(storedJob({ order, output }));
    }
    expect(sizeOf(folder, "jobs.sqlite")).toBeGreaterThan(15_000_000);
    for (let order = 0; order < 1_399; order++) store.delete(storedJob({ order }));
    const kept = storedJob({ order: 1_399, output });
    expect(reopened(store, folder)).toEqual([kept]);
    expect(sizeOf(folder, "jobs.sqlite")).toBeLessThan(6_000_000);
  });

  test("can be closed twice, and says so when used afterwards", () => {
    const store = open(temporaryFolder());
    store.close();
    store.close();
    expect(() => store.load()).toThrow(/jobs\.sqlite cannot be used \(.*(not open|closed|finalized)/);
  });
});

describe("opening a store", () => {
  test("fails at once while another has it, and leaves that one alone", () => {
    const folder = temporaryFolder();
    const store = open(folder);
    store.create(storedJob({ order: 1 }));
    const path = join(folder, "jobs.sqlite");
    const message = `${path} is in use by another local endpoint: stop it, or pass another folder`;
    for (let time = 0; time < 2; time++) expect(() => open(folder)).toThrow(new Error(message));
    store.create(storedJob({ order: 2 }));
    expect(reopened(store, folder)).toHaveLength(2);
  });

  test("fails for what is no database, and leaves it as it is", () => {
    const folder = temporaryFolder();
    const path = join(folder, "jobs.sqlite");
    const bytes = Buffer.from("Not a database, but somebody's notes.\n".repeat(500));
    writeFileSync(path, bytes);
    expect(() => open(folder)).toThrow(
      `${path} is damaged or no SQLite database (file is not a database): move it away`,
    );
    expect(readFileSync(path)).toEqual(bytes);
    expect(readdirSync(folder)).toEqual(["jobs.sqlite"]);
  });

  test.each([
    [
      "in the middle",
      (path: string, bytes: Buffer) => writeFileSync(path, bytes.fill(0x55, 9_000, bytes.length - 9_000)),
    ],
    ["at its end", (path: string, bytes: Buffer) => truncateSync(path, bytes.length >> 1)],
  ])("fails for a database that is broken %s, and leaves it as it is", (_, damage) => {
    const folder = temporaryFolder();
    const path = join(folder, "jobs.sqlite");
    const store = open(folder);
    for (let order = 0; order < 500; order++) store.create(storedJob({ order }));
    store.close();
    damage(path, readFileSync(path));
    const bytes = readFileSync(path);
    expect(() => open(folder)).toThrow(/jobs\.sqlite .*(damaged|malformed).*: move it away to start with no jobs/s);
    expect(readFileSync(path)).toEqual(bytes);
  });

  test("fails for a store of a newer version, and leaves it as it is", () => {
    const folder = temporaryFolder();
    const path = join(folder, "jobs.sqlite");
    const store = open(folder);
    store.create(storedJob());
    store.close();
    exec(folder, "PRAGMA user_version = 2");
    const bytes = readFileSync(path);
    expect(() => open(folder)).toThrow(
      `${path} cannot be used (it was written by a newer layerdiffuse: version 2, and this one reads up to 1): move it away`,
    );
    expect(readFileSync(path)).toEqual(bytes);
    exec(folder, "PRAGMA user_version = 1");
    expect(open(folder).load()).toEqual([storedJob()]);
  });

  test("fails for the database of another program, and leaves it as it is", () => {
    const folder = temporaryFolder();
    exec(folder, "CREATE TABLE notes (text TEXT)");
    const bytes = readFileSync(join(folder, "jobs.sqlite"));
    expect(() => open(folder)).toThrow("(it is another program's database)");
    expect(readFileSync(join(folder, "jobs.sqlite"))).toEqual(bytes);
  });

  test("takes a file that is empty, as one is whose maker was killed at once", () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "jobs.sqlite"), "");
    const store = open(folder);
    store.create(storedJob());
    expect(reopened(store, folder)).toEqual([storedJob()]);
  });

  test.each([
    [
      "a status it does not know",
      "UPDATE jobs SET status = 'ASLEEP'",
      'a job in it cannot be read: status must be "IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED" or "TIMED_OUT", got "ASLEEP"',
    ],
    ["a text without its job", "DELETE FROM jobs", "a text in it belongs to no job"],
  ])("is followed by a failure to load %s", (_, statement, message) => {
    const folder = temporaryFolder();
    const store = open(folder);
    store.create(storedJob());
    store.close();
    exec(folder, statement);
    expect(() => open(folder).load()).toThrow(`jobs.sqlite cannot be used (${message})`);
  });

  test("fails where a file is in the way of the folder", () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    for (const folder of [file, join(file, "below")]) {
      expect(() => open(folder)).toThrow(`cannot keep jobs in ${folder} (E`);
      expect(() => open(folder)).toThrow("): pass a folder that you may write to");
    }
  });

  test("fails where a folder is in the place of the file", () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "jobs.sqlite"));
    expect(() => open(folder)).toThrow("jobs.sqlite cannot be read and written (unable to open database file)");
  });

  test("fails for a folder that the user may not write to", async () => {
    const folder = temporaryFolder();
    const closed = join(folder, "closed");
    mkdirSync(closed, { mode: 0o555 });
    const { stderr } = await write(closed, "nobody");
    expect(stderr).toMatch(
      /Error: cannot keep jobs in \S+closed \(EACCES: permission denied, [^)]*\): pass a folder that you may write to/,
    );
  });
});

describe("a process that is killed", () => {
  test("loses nothing it said was written, and leaves nothing half done, however often", async () => {
    const folder = temporaryFolder();
    const said = new Set<string>();
    for (let round = 0; round < 4; round++) {
      const { stdout, stderr } = await write(folder);
      // Nor does loading SQLite print a warning.
      expect(stderr).toBe("");
      for (const line of stdout.split("\n").slice(0, -1)) said.add(line);
      const store = open(folder);
      const jobs = new Map(store.load().map((job) => [job.order, job]));
      store.close();
      const orders = [...said].filter((line) => line.startsWith("created")).map((line) => Number(line.split(" ")[1]));
      expect(orders.length).toBeGreaterThan(round * 20);
      const wrong = orders.filter((order) => {
        const job = jobs.get(order);
        // What was not said may have been done all the same.
        if (job === undefined) return order % 3 !== 0 || !said.has(`ended ${order}`);
        if (said.has(`deleted ${order}`)) return true;
        if (said.has(`ended ${order}`) && job.status !== "COMPLETED") return true;
        if (said.has(`started ${order}`) && (job.status === "IN_QUEUE" || job.chunks.length !== 1)) return true;
        const isWhole =
          job.status === "COMPLETED" ? job.output?.length === 300_002 && job.input === "" : job.input !== "";
        return !isWhole;
      });
      expect(wrong).toEqual([]);
    }
  });

  test("had the folder to itself, and leaves it to the next", async () => {
    const folder = temporaryFolder();
    const tried: unknown[] = [];
    await write(folder, "anybody", () => {
      try {
        Store.open(folder).close();
        tried.push("opened");
      } catch (error) {
        tried.push(error instanceof Error && error.message.replace(/^.* is /, "is "));
      }
    });
    expect(tried).toEqual(["is in use by another local endpoint: stop it, or pass another folder"]);
    expect(open(folder).load().length).toBeGreaterThan(0);
  });
});

/** Lets a process write to the folder, and kills it after a while in the middle of its work. */
async function write(
  folder: string,
  user = "anybody",
  beforeTheEnd = () => {},
): Promise<{ stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [writer, folder, user], { stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const closed = once(child, "close");
  const stderr = text(child.stderr);
  let stdout = "";
  let isEnough = false;
  child.stdout.setEncoding("utf8").on("data", (words: string) => {
    stdout += words;
    if (isEnough || stdout.split("\n").length < 80) return;
    isEnough = true;
    beforeTheEnd();
    child.kill("SIGKILL");
  });
  await closed;
  return { stdout, stderr: await stderr };
}

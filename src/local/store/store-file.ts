import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { loadSqlite } from "./sqlite.ts";
import { storeFailure } from "./store-failure.ts";

/** "LaDi" as a number: how a store is told from any other SQLite database. */
const applicationId = 0x4c614469;

/** Counts up when the tables change. */
const schemaVersion = 1;

/** What the write-ahead log is cut back to once a large result has gone through it. */
const logBytes = 4 * 1024 * 1024;

/**
 * Texts have a table of their own, since SQLite writes a whole row anew whatever changes in it: a change of
 * state must not cost a result of 20 MB.
 */
const schema = `
  CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    sync INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    queued_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    expires_at REAL,
    retries INTEGER NOT NULL,
    worker_id TEXT,
    webhook TEXT,
    s3_config TEXT,
    execution_timeout REAL,
    ttl REAL NOT NULL,
    low_priority INTEGER NOT NULL,
    summary TEXT NOT NULL
  ) STRICT;
  CREATE TABLE texts (
    job INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('input', 'output', 'error', 'chunk')),
    place INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (job, kind, place)
  ) STRICT, WITHOUT ROWID;
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};
`;

export interface StoreFile {
  readonly path: string;
  readonly database: DatabaseSync;
}

/**
 * Opens the database of a folder, both made where they are absent, for this process alone.
 *
 * @throws Error saying what is wrong with folder or file, which then is as it was.
 */
export function openStoreFile(folder: string): StoreFile {
  const { DatabaseSync } = loadSqlite();
  const path = join(folder, "jobs.sqlite");
  makeFile(folder, path);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    // Before anything is read: the first look then takes the lock, and keeps it until the process ends, however it does.
    database.exec("PRAGMA locking_mode = EXCLUSIVE");
    prepare(database, checkOwner(database) === "new");
  } catch (error) {
    database?.close();
    throw storeFailure(path, error);
  }
  return { path, database };
}

/** Jobs hold prompts and keys of buckets: for the user's eyes only. SQLite gives its log the mode of its file. */
function makeFile(folder: string, path: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Not the way to open one that exists: closing it would give up every lock this process has on it.
    closeSync(openSync(path, "wx", 0o600));
  } catch (cause) {
    if (existsSync(path)) return;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`cannot keep jobs in ${folder} (${reason}): pass a folder that you may write to`, { cause });
  }
}

/** Only reads, so that a database that is not ours stays as it is. */
function checkOwner(database: DatabaseSync): "new" | "ours" {
  const owner = readNumber(database, "PRAGMA application_id");
  const version = readNumber(database, "PRAGMA user_version");
  const tables = readNumber(database, "SELECT count(*) FROM sqlite_schema");
  if (owner === 0 && version === 0 && tables === 0) return "new";
  if (owner !== applicationId) throw new Error("it is a database of another program");
  if (version > schemaVersion) {
    throw new Error(
      `it was written by a newer layerdiffuse: version ${version}, and this one reads up to ${schemaVersion}`,
    );
  }
  const [finding] = Object.values(database.prepare("PRAGMA quick_check(1)").get() ?? {});
  if (finding !== "ok") throw new Error(`it is damaged: ${finding}`);
  return "ours";
}

function prepare(database: DatabaseSync, isNew: boolean): void {
  // Can be chosen only while there is no table.
  if (isNew) database.exec("PRAGMA auto_vacuum = INCREMENTAL");
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA journal_size_limit = ${logBytes};
    BEGIN EXCLUSIVE;
    ${isNew ? schema : ""}
    COMMIT;
  `);
}

function readNumber(database: DatabaseSync, statement: string): number {
  const [value] = Object.values(database.prepare(statement).get() ?? {});
  return Number(value);
}

import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { makeFolder } from "./make-folder.ts";
import { loadSqlite } from "./sqlite.ts";
import { storeFailure } from "./store-failure.ts";

/** "LaDi" as a number. It tells a store from any other SQLite database. */
const applicationId = 0x4c614469;

/** Goes up when the tables change. */
const schemaVersion = 1;

/** The write-ahead log is cut back to this size after a large result. */
const logBytes = 4 * 1024 * 1024;

/**
 * Texts have a table of their own, since SQLite rewrites a whole row when anything in it changes. A change of state must
 * not rewrite a result of 20 MB.
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
 * Opens the database in a folder for this process alone, and creates both if they don't exist.
 *
 * @throws Error that says what is wrong with the folder or the file, which is not changed then
 */
export function openStoreFile(folder: string): StoreFile {
  const { DatabaseSync } = loadSqlite();
  const path = join(folder, "jobs.sqlite");
  makeFile(folder, path);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    // Before anything is read: the first read then takes the lock and keeps it until the process ends, even by a kill.
    database.exec("PRAGMA locking_mode = EXCLUSIVE");
    prepare(database, checkOwner(database) === "new");
  } catch (error) {
    database?.close();
    throw storeFailure(path, error);
  }
  return { path, database };
}

/** Only the user may read it: jobs hold prompts and keys of buckets. SQLite gives its log the mode of the file. */
function makeFile(folder: string, path: string): void {
  try {
    makeFolder(folder, 0o700);
    // Only for a new file: closing an existing one would give up every lock that this process has on it.
    closeSync(openSync(path, "wx", 0o600));
  } catch (cause) {
    if (existsSync(path)) return;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`cannot keep jobs in ${folder} (${reason}): pass a folder that you may write to`, { cause });
  }
}

/** Only reads, so that another program's database is not changed. */
function checkOwner(database: DatabaseSync): "new" | "ours" {
  const owner = readNumber(database, "PRAGMA application_id");
  const version = readNumber(database, "PRAGMA user_version");
  const tables = readNumber(database, "SELECT count(*) FROM sqlite_schema");
  if (owner === 0 && version === 0 && tables === 0) return "new";
  if (owner !== applicationId) throw new Error("it is another program's database");
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
  // This can be set only while there are no tables.
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

import { expect, test } from "vitest";
import { storeFailure } from "../../../../src/local/store/store-failure.ts";

test.each([
  ["SQLITE_BUSY", 5, "jobs.sqlite is in use by another local endpoint: stop it, or pass another folder"],
  ["SQLITE_BUSY_RECOVERY", 261, "jobs.sqlite is in use by another local endpoint: stop it, or pass another folder"],
  ["SQLITE_FULL", 13, "jobs.sqlite cannot grow: the disk is full; free some space, or pass a folder on another disk"],
  [
    "SQLITE_IOERR_WRITE",
    778,
    "jobs.sqlite cannot be read and written (so it goes): check its permissions and its disk",
  ],
  ["SQLITE_READONLY", 8, "jobs.sqlite cannot be read and written (so it goes): check its permissions and its disk"],
  ["SQLITE_CORRUPT_INDEX", 779, "jobs.sqlite is damaged or no SQLite database (so it goes): move it away"],
  ["SQLITE_MISUSE", 21, "jobs.sqlite cannot be used (so it goes): move it away"],
  ["no code", undefined, "jobs.sqlite cannot be used (so it goes): move it away"],
])("the failure of a store says what to do about %s", (_, errcode, message) => {
  const cause = Object.assign(new Error("so it goes"), { errcode });
  const failure = storeFailure("jobs.sqlite", cause);
  expect(failure.message).toContain(message);
  expect(failure.cause).toBe(cause);
});

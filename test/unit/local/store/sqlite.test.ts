import { expect, onTestFinished, test, vi } from "vitest";
import { loadSqlite } from "../../../../src/local/store/sqlite.ts";

/** Stands in for what the runtime has built in. */
function stubBuiltIn(load: () => object | undefined): void {
  const stub = vi.spyOn(process, "getBuiltinModule").mockImplementation(load);
  onTestFinished(() => stub.mockRestore());
}

test("SQLite comes with the runtime", () => {
  expect(new (loadSqlite().DatabaseSync)(":memory:").prepare("SELECT 1 AS one").get()).toEqual({ one: 1 });
});

test("a runtime without SQLite is told what to do", () => {
  stubBuiltIn(() => undefined);
  expect(loadSqlite).toThrow(
    `keeping jobs in a folder needs node:sqlite, which Node ${process.versions.node} does not have: use Node 22.13 or newer, or pass no folder to keep jobs in memory`,
  );
});

test("no warning is printed that SQLite may change, while others are", () => {
  const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  onTestFinished(() => warnings.mockRestore());
  const { emitWarning } = process;
  stubBuiltIn(() => {
    process.emitWarning("SQLite is an experimental feature and might change at any time", "ExperimentalWarning");
    process.emitWarning("Something else is an experimental feature", "ExperimentalWarning");
    process.emitWarning("SQLite is out of date", "DeprecationWarning");
    return {};
  });
  loadSqlite();
  expect(warnings.mock.calls.map(([warning]) => warning)).toEqual([
    "Something else is an experimental feature",
    "SQLite is out of date",
  ]);
  expect(process.emitWarning).toBe(emitWarning);
});

type Sqlite = typeof import("node:sqlite");

/**
 * The SQLite that comes with the runtime: with Node 22.13 or newer, and with compatible runtimes.
 *
 * @throws Error where there is none
 */
export function loadSqlite(): Sqlite {
  const sqlite = withoutItsWarning(builtInSqlite);
  if (sqlite !== undefined) return sqlite;
  const { bun, deno, node } = process.versions;
  const runtime = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node ${node}`;
  throw new Error(
    `keeping jobs in a folder needs node:sqlite, which ${runtime} does not have: use Node 22.13 or newer, or pass no folder to keep jobs in memory`,
  );
}

/** Not an import: that would fail where the module is absent, even for endpoints that need no folder, and bundlers cut off its `node:`. */
function builtInSqlite(): Sqlite | undefined {
  // Node before 22.3 has no such function.
  return process.getBuiltinModule?.("node:sqlite");
}

/**
 * Node 22 warns that SQLite may change when the module is loaded, which does not help a user of the endpoint. There is
 * no switch for this warning alone, so `process.emitWarning` is replaced while the module loads. Nothing else can run in
 * that time.
 */
function withoutItsWarning<Value>(load: () => Value): Value {
  const { emitWarning } = process;
  const isAboutSqlite = ([warning, type]: unknown[]) =>
    type === "ExperimentalWarning" && /^SQLite/.test(String(warning));
  process.emitWarning = new Proxy(emitWarning, {
    apply: (issue, self, values) => {
      if (!isAboutSqlite(values)) Reflect.apply(issue, self, values);
    },
  });
  try {
    return load();
  } finally {
    process.emitWarning = emitWarning;
  }
}

type Sqlite = typeof import("node:sqlite");

/**
 * SQLite as it comes with the runtime: Node 22.13 and newer, and what is compatible with them.
 *
 * @throws Error where there is none.
 */
export function loadSqlite(): Sqlite {
  const sqlite = withoutItsWarning(builtInSqlite);
  if (sqlite !== undefined) return sqlite;
  const { bun, deno, node } = process.versions;
  const runtime = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node ${node}`;
  throw new Error(
    `keeping jobs in a folder needs node:sqlite, which ${runtime} does not have: use Node 22.13 or newer, or name no folder and have the jobs in memory`,
  );
}

/** Not an import, which would fail for everyone else where the module is absent, and whose `node:` bundlers cut off. */
function builtInSqlite(): Sqlite | undefined {
  // Node before 22.3 has no such function.
  return process.getBuiltinModule?.("node:sqlite");
}

/**
 * Node 22 warns when the module is loaded that SQLite may change: nothing a user of the endpoint could act on.
 * There is no switch for that warning alone, so what issues warnings is replaced for as long as loading takes,
 * in which nothing else can run.
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

/** SQLite's primary result codes (https://sqlite.org/rescode.html). Node reports extended ones. */
const codes = { busy: 5, readOnly: 8, io: 10, corrupt: 11, full: 13, cannotOpen: 14, notDatabase: 26 } as const;

/** An error that says what is wrong with a store's file, and what to do. */
export function storeFailure(path: string, cause: unknown): Error {
  return new Error(`${path} ${problem(cause)}`, { cause });
}

function problem(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  switch (resultCode(cause)) {
    case codes.busy:
      return "is in use by another local endpoint: stop it, or pass another folder";
    case codes.corrupt:
    case codes.notDatabase:
      return `is damaged or no SQLite database (${message}): move it away to start with no jobs, or pass another folder`;
    case codes.full:
      return "cannot grow: the disk is full; free some space, or pass a folder on another disk";
    case codes.readOnly:
    case codes.io:
    case codes.cannotOpen:
      return `cannot be read and written (${message}): check its permissions and its disk, or pass another folder`;
    default:
      return `cannot be used (${message}): move it away to start with no jobs, or pass another folder`;
  }
}

function resultCode(cause: unknown): number | undefined {
  if (!(cause instanceof Error && "errcode" in cause)) return undefined;
  return typeof cause.errcode === "number" ? cause.errcode & 0xff : undefined;
}

/** What the caller would rather have. */
export interface Preference {
  /** An answer at once. */
  isAsync: boolean;
  /** Milliseconds the caller would wait. */
  wait: number;
}

/** Reads `Prefer`; what is not understood is left out of account. RFC 7240. */
export function preferenceOf({ headers }: Request): Preference {
  const parts = (headers.get("prefer") ?? "").split(",").map((part) => part.split(";")[0]?.trim().toLowerCase() ?? "");
  const seconds = parts
    .map((part) => /^wait\s*=\s*"?(\d{1,6})"?$/.exec(part)?.[1])
    .find((value) => value !== undefined);
  return {
    isAsync: parts.includes("respond-async"),
    wait: seconds === undefined ? Number.POSITIVE_INFINITY : Number(seconds) * 1000,
  };
}

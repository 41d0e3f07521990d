/** What differs between Node, Bun, Deno, Workers and browsers. Read when asked, never at import. */

declare const __VERSION__: string | undefined;

/** The package's version, set by the build. `"0.0.0-dev"` when run from source. */
export const VERSION: string = typeof __VERSION__ === "string" ? __VERSION__ : "0.0.0-dev";

/** True in browser pages and their workers, where whatever the code holds can be read by the visitor. */
export function isBrowser(): boolean {
  return typeof navigator === "object" && /^Mozilla\//.test(navigator.userAgent ?? "");
}

/** An environment variable, trimmed; `undefined` when unset, empty, or not to be had here. */
export function readEnv(name: string): string | undefined {
  try {
    return globalThis.process?.env?.[name]?.trim() || undefined;
  } catch {
    // Deno without --allow-env throws: there, unset is what the caller may know.
    return undefined;
  }
}

/**
 * A request's body in the form that the runtime sends at most once. Deno sends a text again by itself when a
 * reused connection breaks (denoland/deno#32566), which would submit a job twice; a Blob it does not.
 */
export function sentOnce(body: string): string | Blob {
  return "Deno" in globalThis ? new Blob([body]) : body;
}

/** Whether `fetch` takes `cache`: Workers whose compatibility date is before 2024-11-11 throw on the field. */
export function knowsCacheMode(): boolean {
  try {
    return new Request("https://cache.test", { cache: "no-store" }) !== undefined;
  } catch {
    return false;
  }
}

/** node:zlib where the runtime has it: it decompresses at once, and in half the time of a `DecompressionStream`. */
export function nodeZlib() {
  const zlib = isBrowser() ? undefined : globalThis.process?.getBuiltinModule?.("node:zlib");
  return typeof zlib?.inflateSync === "function" ? zlib : undefined;
}

/** Writes a file where there is a file system, else returns false. */
export async function writeFile(path: string | URL, bytes: Uint8Array): Promise<boolean> {
  // getBuiltinModule keeps `node:` out of what bundlers see. Node ≥ 22.3, Bun, Deno 2.
  const fs = isBrowser() ? undefined : globalThis.process?.getBuiltinModule?.("node:fs/promises");
  if (typeof fs?.writeFile !== "function") return false;
  await fs.writeFile(path, bytes);
  return true;
}

import { build } from "vite";
import config from "./vite.config.ts";

/** Builds the page in memory and returns its files by path. Writes nothing to disk. */
export async function buildPage(): Promise<Map<string, string | Uint8Array>> {
  const built = await build({
    ...config,
    configFile: false,
    logLevel: "warn",
    build: { ...config.build, write: false },
  });
  const results = Array.isArray(built) ? built : [built];
  const files = results.flatMap((result) => ("output" in result ? result.output : []));
  return new Map(files.map((file) => [`/${file.fileName}`, file.type === "chunk" ? file.code : file.source]));
}

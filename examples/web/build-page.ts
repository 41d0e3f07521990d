import { build } from "vite";
import config from "./vite.config.ts";

/** The files of the page by their path, built in memory: nothing is written to the disk. */
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

/** What the worker returns, by the published image or ours. */
export interface WorkerOutput {
  status?: string;
  /** A data URL; in the worker's HTTP mode an address. */
  url?: string;
  image_base64?: string;
  filename?: string;
  /** The generation record: JSON text, or already an object. */
  info?: unknown;
  seed?: number;
}

/** Reads an output loosely: what has the wrong type counts as absent. */
export function parseOutput(output: unknown): WorkerOutput {
  if (typeof output !== "object" || output === null) return {};
  const result: WorkerOutput = {};
  for (const [name, value] of Object.entries(output)) {
    if (name === "info") result.info = value;
    else if (name === "seed" && typeof value === "number") result.seed = value;
    else if (/^(status|url|image_base64|filename)$/.test(name) && typeof value === "string") {
      result[name as "status" | "url" | "image_base64" | "filename"] = value;
    }
  }
  return result;
}

/** The generation record as an object; text that is no JSON object is kept under `text`. */
export function parseInfo(info: unknown): Record<string, unknown> {
  let value = info;
  if (typeof value === "string") {
    try {
      value = JSON.parse(value);
    } catch {
      return { text: info };
    }
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  return typeof info === "string" ? { text: info } : {};
}

import { createHash } from "node:crypto";
import type { GenerateInput } from "../../protocol/generate-input.ts";

/** Characters of the prompt in the name of a file. */
const shown = 40;

/**
 * The file for one entry of a batch, the same in every run: `0001-a-red-apple-1f3a9c2e.png`. The end is the beginning
 * of the input's fingerprint, so that a change makes another file.
 */
export function fileName(position: number, input: GenerateInput): string {
  const slug = String(input.prompt)
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "-");
  const words = [...slug]
    .slice(0, shown)
    .join("")
    .replace(/^-+|-+$/g, "");
  const parts = [String(position).padStart(4, "0"), words, fingerprint(input).slice(0, 8)];
  return `${parts.filter(Boolean).join("-")}.png`;
}

/** A digest of prompt and settings, the same wherever the entry stands in its list. */
export function fingerprint(input: GenerateInput): string {
  // Sorted, so that the order of the settings does not matter.
  const fields = Object.entries(input).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(fields)).digest("hex");
}

/** The name of such a file without its position: what two entries with the same input have in common. */
export function withoutPosition(file: string): string {
  return file.replace(/^\d+-/, "");
}

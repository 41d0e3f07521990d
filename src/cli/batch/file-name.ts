import { createHash } from "node:crypto";
import type { GenerateInput } from "../../protocol/generate-input.ts";

/** Characters of the prompt in the name of a file. */
const shown = 40;

/**
 * The file for one entry of a batch, the same in every run: `0001-a-red-apple-1f3a9c2e.png`. The end is a fingerprint
 * of prompt and settings, so that a change makes another file.
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
  const parts = [String(position).padStart(4, "0"), words, fingerprint(input)];
  return `${parts.filter(Boolean).join("-")}.png`;
}

function fingerprint(input: GenerateInput): string {
  // Sorted, so that the order of the settings does not matter.
  const fields = Object.entries(input).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(fields)).digest("hex").slice(0, 8);
}

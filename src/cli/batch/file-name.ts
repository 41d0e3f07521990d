import { createHash } from "node:crypto";
import type { GenerateInput } from "../../protocol/generate-input.ts";

/** Letters of the prompt that are shown in a file's name. */
const shown = 40;

/**
 * The file for one entry of a batch, the same in every run: `0001-a-red-apple-1f3a9c2e.png`. Its
 * end stands for all that was asked for, so that a changed prompt or setting is another file.
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
  // Sorted, so that the order in which settings were given does not matter.
  const fields = Object.entries(input).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(fields)).digest("hex").slice(0, 8);
}

/** How numbers and messages are written for people. */

/** Milliseconds as `0.4 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`. */
export function duration(milliseconds: number): string {
  const tenths = Math.round(milliseconds / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
}

/** USD, not rounded where that would show: a second costs a few hundredths of a cent. */
export function dollars(amount: number): string {
  if (amount > 0 && amount < 1e-8) return "less than $0.00000001";
  // Beyond that there is only what binary fractions add.
  const [whole, fraction = ""] = amount.toFixed(8).split(".");
  const digits = fraction.replace(/0+$/, "");
  return digits === "" ? `$${whole}` : `$${whole}.${digits.padEnd(2, "0")}`;
}

export function count(amount: number, one: string, many: string): string {
  return `${amount} ${amount === 1 ? one : many}`;
}

/** `share` (0 to 1) of a bar. */
export function bar(share: number, width = 16): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "█".repeat(full) + "░".repeat(width - full);
}

/** A message of others as a sentence: some end with a full stop or a question mark, some with nothing. */
export function sentence(message: string): string {
  return /[.?!]$/.test(message) ? message : `${message}.`;
}

/** A text of others on one line, without control characters. */
export function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, " ").trim();
}

/** At most `width` characters. */
export function clip(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join("")}…`;
}

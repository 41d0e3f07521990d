/** The most characters of a message. */
const longest = 1_000;

/** Shorter secrets, such as those of the local endpoint, may be part of ordinary words. */
const shortestSecret = 8;

/**
 * Makes a function that removes from a worker's message what a browser must not see: a traceback, and the words in
 * `secrets` (the endpoint's id, its host, the key). An object written as text could hold anything, so it is dropped.
 */
export function textCleaner(secrets: () => readonly string[]): (text: string) => string {
  return (text) => {
    if (isStructure(text)) return "The worker did not say why.";
    const words = secrets().filter((word) => word.length >= shortestSecret);
    const message = words.reduce((rest, word) => rest.replaceAll(word, "[removed]"), withoutTrace(text));
    return message.length > longest ? `${message.slice(0, longest)}…` : message;
  };
}

/** What stands before a traceback is the worker's own message. Without one, the exception at the traceback's end is. */
function withoutTrace(text: string): string {
  const at = text.indexOf("Traceback (most recent call last)");
  if (at < 0) return text;
  const before = text.slice(0, at).trim();
  return before || (text.trimEnd().split("\n").pop() ?? "").trim();
}

function isStructure(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}

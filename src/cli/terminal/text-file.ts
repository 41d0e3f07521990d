/** Text that others wrote, decoded strictly: what a lenient decoder makes of a wrong file would be drawn and paid for. */
import { isUtf8 } from "node:buffer";
import type { Readable } from "node:stream";
import { UsageError } from "./failures.ts";

/** Bytes. A list of a million prompts is smaller. */
const largestText = 64 * 1024 * 1024;

const saveAsUtf8 = "Save it as UTF-8, and run the command again";

/**
 * All of a stream.
 *
 * @param name as errors call it
 * @throws UsageError where it is too large to be a text of the user's; the signal's reason
 */
export async function readAll(stream: Readable, name: string, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Ends the wait for a stream that nobody writes to.
  const onAbort = () => void stream.destroy(new Error("The program was interrupted."));
  signal.addEventListener("abort", onAbort);
  try {
    signal.throwIfAborted();
    for await (const chunk of stream) {
      const bytes = Buffer.from(chunk);
      size += bytes.length;
      if (size > largestText) throw new UsageError(`${name} is larger than ${largestText / 1024 / 1024} MiB.`);
      chunks.push(bytes);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
  signal.throwIfAborted();
  return Buffer.concat(chunks);
}

/**
 * The text of a file: UTF-8, or UTF-16 as PowerShell and Notepad write it, without its byte order mark.
 *
 * @param name as errors call it
 * @throws UsageError that names the line: for any other encoding, for a file that is not text, and for characters that
 * an earlier program has already lost
 */
export function decodeText(bytes: Uint8Array, name: string): string {
  const text = textOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), name);
  // Tab and the ends of lines are the only control characters that belong into a text.
  const odd = /[^\P{Cc}\t\n\r]|\uFFFD/u.exec(text);
  if (!odd) return text;
  const line = lineAt(text, odd.index);
  if (odd[0] === "\uFFFD") {
    throw new UsageError(
      `${name}, line ${line}: a character was lost when another program wrote this text (U+FFFD stands for it). Write the line again.`,
    );
  }
  const code = odd[0].codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0");
  throw new UsageError(
    `${name}, line ${line}: U+${code} is a control character. Remove it, or save the file as UTF-8 if it has another encoding.`,
  );
}

/** The number of the line, 1 for the first, that holds the character at an index. */
export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split(lineEnd).length;
}

/** How a line ends: on Unix, on Windows, on an old Mac and in some exports of Excel. */
export const lineEnd = /\r\n|\n|\r/;

function textOf(bytes: Buffer, name: string): string {
  const starts = (...mark: number[]) => mark.every((byte, place) => bytes[place] === byte);
  if (starts(0xff, 0xfe, 0, 0) || starts(0, 0, 0xfe, 0xff)) {
    throw new UsageError(`${name} is UTF-32. ${saveAsUtf8}.`);
  }
  if (starts(0xff, 0xfe)) return utf16(bytes.subarray(2), name);
  if (starts(0xfe, 0xff)) return utf16(swapped(bytes.subarray(2)), name);
  const zero = bytes.indexOf(0);
  if (zero >= 0) {
    if (isMostly(bytes, 1)) return utf16(bytes, name);
    if (isMostly(bytes, 0)) return utf16(swapped(bytes), name);
    const line = lineAt(bytes.toString("latin1", 0, zero), zero);
    throw new UsageError(
      `${name} is not a text file: line ${line} holds a NUL byte. If it is text, it has another encoding. ${saveAsUtf8}.`,
    );
  }
  if (isUtf8(bytes)) return (starts(0xef, 0xbb, 0xbf) ? bytes.subarray(3) : bytes).toString("utf8");
  const line = firstNotUtf8(bytes);
  throw new UsageError(
    `${name}, line ${line}: this is not UTF-8. An older program may have saved the file in the encoding of its language, such as Windows-1252. ${saveAsUtf8}.`,
  );
}

/** Text in UTF-16, little end first. */
function utf16(bytes: Buffer, name: string): string {
  try {
    return new TextDecoder("utf-16le", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UsageError(
      `${name} begins as UTF-16, but not all of it is. Was something appended in another encoding? ${saveAsUtf8}.`,
      { cause },
    );
  }
}

function swapped(bytes: Buffer): Buffer {
  // A copy of whole pairs; a byte that is left over makes the decoder refuse the rest.
  const even = Buffer.from(bytes.subarray(0, bytes.length & ~1)).swap16();
  return bytes.length % 2 === 0 ? even : Buffer.concat([even, bytes.subarray(-1)]);
}

/**
 * Whether nine in ten of the pairs of bytes have NUL at one of their two places, and none at the other: Latin text in
 * UTF-16 that has no byte order mark.
 */
function isMostly(bytes: Buffer, place: 0 | 1): boolean {
  if (bytes.length % 2 !== 0) return false;
  let zeros = 0;
  for (let pair = 0; pair < bytes.length; pair += 2) {
    if (bytes[pair + 1 - place] === 0) return false;
    if (bytes[pair + place] === 0) zeros++;
  }
  return zeros * 2 >= bytes.length * 0.9;
}

function firstNotUtf8(bytes: Buffer): number {
  let line = 1;
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, start);
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) return line;
    start = end + 1;
    line++;
  }
}

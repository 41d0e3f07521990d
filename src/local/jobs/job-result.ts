import { service } from "../../protocol/service-rules.ts";
import { splitText } from "../json/python-json.ts";
import { stringValue } from "../json/raw-json.ts";
import type { Variants } from "../variants.ts";

/** What a worker reports at the end of a job: JSON texts, each absent where the report lacks the key. */
export interface Report {
  output?: string;
  error?: string;
  /** Whether `error` is a string. The service does not take other errors for a failure. */
  isErrorText?: boolean;
  isStream?: boolean;
  /** Whether the report was too large to be read at all. */
  isOversized?: boolean;
}

/** What the service makes of a report. */
export interface Result {
  readonly status: "COMPLETED" | "FAILED";
  readonly output: string | undefined;
  readonly error: string | undefined;
  /** Whether its output was over the size limit, and so dropped. */
  readonly isTooLarge: boolean;
}

export interface ResultRules {
  /** Bytes of JSON. */
  readonly resultLimit: number;
  readonly variants: Pick<Variants, "streamOutput" | "objectError">;
}

export function resultOf(report: Report, { resultLimit, variants }: ResultRules): Result {
  const isEmptyStream = report.isStream && report.output === "[]" && variants.streamOutput === "absent";
  const output = isEmptyStream ? undefined : report.output;
  const isTooLarge = report.isOversized || (output !== undefined && isLongerThan(output, resultLimit));
  const isFailed = report.error !== undefined && (report.isErrorText || variants.objectError === "FAILED");
  return {
    status: isFailed ? "FAILED" : "COMPLETED",
    output: isTooLarge ? undefined : output,
    error: isFailed ? report.error : undefined,
    isTooLarge,
  };
}

/** The chunks that the stream shows for one chunk of the worker: itself, or pieces where it is over the limit. */
export function chunkPieces(text: string): string[] {
  const most = service.streamChunkBytes;
  if (!isLongerThan(text, most)) return [text];
  // How the service cuts chunks that are not strings is unknown. Pieces of their JSON keep every byte.
  const whole = text.startsWith('"') ? (stringValue(text) ?? text) : text;
  return splitText(whole, most).map((piece) => JSON.stringify(piece));
}

/** A text of n characters has n to 3n bytes, so that most need no counting. */
function isLongerThan(text: string, bytes: number): boolean {
  return text.length * 3 > bytes && Buffer.byteLength(text) > bytes;
}

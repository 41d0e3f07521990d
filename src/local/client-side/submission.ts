import { limits } from "../../protocol/limits.ts";
import { service } from "../../protocol/service-rules.ts";
import { isRecord } from "../checks.ts";
import type { Submission } from "../jobs/job-record.ts";
import { rawFields } from "../json/raw-json.ts";
import type { Variants } from "../variants.ts";

/** Why a body was refused: the text of the 400. */
export class RefusedSubmission extends Error {
  override readonly name = "RefusedSubmission";
}

/**
 * Reads the body of `/run` and `/runsync`. Top-level keys the service does not know are dropped.
 *
 * @throws {@link RefusedSubmission}
 */
export function parseSubmission(text: string, variants: Pick<Variants, "loopbackWebhook" | "policyRange">): Submission {
  const body = parseJson(text);
  if (!isRecord(body)) throw new RefusedSubmission("bad request: body must be a JSON object");
  const { input, webhook, policy, s3Config } = body;
  if (input === undefined || input === null) throw new RefusedSubmission("bad request: input is required");
  if (!isRecord(input)) throw new RefusedSubmission("bad request: input must be a JSON object");
  if (policy !== undefined && policy !== null && !isRecord(policy)) {
    throw new RefusedSubmission("bad request: policy must be a JSON object");
  }
  const { executionTimeout, ttl, lowPriority } = isRecord(policy) ? policy : {};
  const range = variants.policyRange;
  return {
    input: inputText(text, input),
    webhook: parseWebhookUrl(webhook, variants.loopbackWebhook === "allowed"),
    s3Config: isRecord(s3Config) ? s3Config : undefined,
    executionTimeout: parseTime(
      "executionTimeout",
      executionTimeout,
      limits.minExecutionTimeout,
      limits.maxExecutionTimeout,
      range,
    ),
    ttl: parseTime("ttl", ttl, limits.minTtl, limits.maxTtl, range) ?? service.defaultTtl,
    lowPriority: lowPriority === true,
  };
}

/** As it was written, so that integers above 2⁵³ reach the worker; `{}` however an empty one was written. */
function inputText(body: string, input: Record<string, unknown>): string {
  const text = Object.keys(input).length === 0 ? undefined : rawFields(body)?.get("input");
  return text ?? JSON.stringify(input);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RefusedSubmission("bad request: body: invalid JSON", { cause });
  }
}

function parseWebhookUrl(webhook: unknown, loopback: boolean): string | undefined {
  if (webhook === undefined || webhook === null || webhook === "") return undefined;
  const url = typeof webhook === "string" && URL.canParse(webhook) ? new URL(webhook) : undefined;
  if (typeof webhook !== "string" || url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new RefusedSubmission("bad request: invalid webhook url");
  }
  if (!loopback && isLoopback(url.hostname)) throw new RefusedSubmission("bad request: invalid webhook url");
  return webhook;
}

function isLoopback(host: string): boolean {
  return /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1?\])$/.test(host);
}

function parseTime(
  name: string,
  value: unknown,
  lowest: number,
  highest: number,
  range: Variants["policyRange"],
): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number") throw new RefusedSubmission(`bad request: policy.${name} must be a number`);
  if (range === "reject" && (value < lowest || value > highest)) {
    throw new RefusedSubmission(`bad request: policy.${name} must be between ${lowest} and ${highest}`);
  }
  return Math.min(Math.max(value, lowest), highest);
}

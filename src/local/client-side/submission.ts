import * as z from "zod/mini";
import { limits } from "../../protocol/limits.ts";
import { service } from "../../protocol/service-rules.ts";
import { check } from "../../schema/check.ts";
import { isObject, lenient, record } from "../../schema/fields.ts";
import type { Submission } from "../jobs/job-record.ts";
import { rawFields } from "../json/raw-json.ts";
import type { Variants } from "../variants.ts";

/** A body that is refused. The message is the text of the 400. */
export class RefusedSubmission extends Error {
  override readonly name = "RefusedSubmission";
}

type SubmissionVariants = Pick<Variants, "loopbackWebhook" | "policyRange">;

/** Reads the body of `/run` and `/runsync`. Top-level keys that the service does not know are dropped. */
export class SubmissionReader {
  readonly #body: ReturnType<typeof bodySchema>;

  constructor(variants: SubmissionVariants) {
    this.#body = bodySchema(variants);
  }

  /** @throws {@link RefusedSubmission} */
  read(text: string): Submission {
    const { issues, value } = check(this.#body, parseJson(text));
    if (issues) throw new RefusedSubmission(`bad request: ${issues[0]?.message}`);
    const { input, webhook, s3Config, policy } = value;
    return {
      input: inputText(text, input),
      webhook: webhook || undefined,
      s3Config,
      executionTimeout: policy?.executionTimeout ?? undefined,
      ttl: policy?.ttl ?? service.defaultTtl,
      lowPriority: policy?.lowPriority === true,
    };
  }
}

/** The messages are the service's own, whole sentences with their subject. */
function bodySchema({ loopbackWebhook, policyRange }: SubmissionVariants) {
  const time = (name: string, least: number, most: number) =>
    z.nullish(
      z.pipe(
        z
          .custom<number>((value) => typeof value === "number", {
            error: `policy.${name} must be a number`,
            abort: true,
          })
          .check(
            z.refine((value) => policyRange === "clamp" || (value >= least && value <= most), {
              error: `policy.${name} must be between ${least} and ${most}`,
            }),
          ),
        z.transform((value: number) => Math.min(Math.max(value, least), most)),
      ),
    );
  const policy = z.object(
    {
      executionTimeout: time("executionTimeout", limits.minExecutionTimeout, limits.maxExecutionTimeout),
      ttl: time("ttl", limits.minTtl, limits.maxTtl),
      lowPriority: z.optional(z.unknown()),
    },
    { error: "policy must be a JSON object" },
  );
  const isWebhook = (value: unknown) => value === "" || isWebAddress(value, loopbackWebhook === "allowed");
  return z.object(
    {
      input: z.custom<object>(isObject, {
        error: ({ input }) =>
          input === undefined || input === null ? "input is required" : "input must be a JSON object",
      }),
      webhook: z.nullish(z.custom<string>(isWebhook, { error: "invalid webhook url" })),
      policy: z.nullish(policy),
      s3Config: lenient(record()),
    },
    { error: "body must be a JSON object" },
  );
}

/** The text that the client sent, so that integers above 2⁵³ reach the worker. An empty input becomes `{}`. */
function inputText(body: string, input: object): string {
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

function isWebAddress(value: unknown, mayBeLoopback: boolean): boolean {
  if (typeof value !== "string" || !URL.canParse(value)) return false;
  const { protocol, hostname } = new URL(value);
  return /^https?:$/.test(protocol) && (mayBeLoopback || !isLoopback(hostname));
}

function isLoopback(host: string): boolean {
  return /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1?\])$/.test(host);
}

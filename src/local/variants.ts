import * as z from "zod/mini";
import { oneOf, strict } from "../schema/fields.ts";

/**
 * Choices where no source settles how the service behaves, or where sources contradict each other. The default is the
 * behaviour with the better evidence. A client should work with either.
 *
 * Each choice names its evidence: *documented* by RunPod, *seen live* in one of its repositories, *read* in its source
 * code, *reported* by third parties, or our *guess*.
 */
export interface Variants {
  /** Body of a 401: `{"error":"unauthorized"}` or none. Reported, for both. Default `"json"`. */
  authError: "json" | "empty";
  /** Body of a 404: `{"error":"…"}` or `{"detail":"…"}`. Read, for both. Default `"error"`. */
  notFoundBody: "error" | "detail";
  /** How a job over its execution time-out ends. Reported, for both. Default `"FAILED"`. */
  executionTimeout: "FAILED" | "TIMED_OUT";
  /**
   * What becomes of an unfinished job when its `ttl` is over: deleted, so that its status is a 404, or
   * `TIMED_OUT` and kept like every result. Documented, for both. Default `"gone"`.
   */
  ttlExpiry: "gone" | "TIMED_OUT";
  /**
   * `/status-sync`: held until the job ends, answered at once, unknown (404) or refused (405). Official
   * clients use it, the current documentation no longer lists it. Default `"held"`.
   */
  statusSync: "held" | "ignores-wait" | "absent" | "405";
  /** What becomes of purged jobs: `CANCELLED`, or deleted. Unknown, so a guess. Default `"CANCELLED"`. */
  purged: "CANCELLED" | "gone";
  /** Cancelling a job that has ended: 200 with the job as it is, or 400. A guess. Default `"unchanged"`. */
  cancelFinished: "unchanged" | "error";
  /** `Retry-After` on a 429: none, in seconds, or as a date by the computer's wall clock. Undocumented. Default `false`. */
  retryAfter: false | "seconds" | "date";
  /** `/health` with all eleven numbers (seen live) or with `idle` and `running` alone (documented). Default `"full"`. */
  health: "full" | "two-fields";
  /** Status of an accepted `/run`: 200 is documented. Default `200`. */
  runStatus: 200 | 201;
  /** `/stream` as `{"status","stream"}` (seen live, read) or as a bare array (documented). Default `"object"`. */
  streamShape: "object" | "array";
  /**
   * `output` of a streaming job that does not aggregate: absent (seen live) or `[]`, which is what the
   * worker posts (read). Default `"absent"`.
   */
  streamOutput: "absent" | "empty";
  /** How a job ends whose worker answers an `error` that is not text: seen once as COMPLETED. Reported. Default `"COMPLETED"`. */
  objectError: "COMPLETED" | "FAILED";
  /** The name of the running state. `RUNNING` is documented, but reported never to occur. Default `"IN_PROGRESS"`. */
  runningStatus: "IN_PROGRESS" | "RUNNING";
  /**
   * The service refuses webhooks to this computer (400, reported). Here they are allowed: a laptop has
   * no other address. Default `"allowed"`.
   */
  loopbackWebhook: "allowed" | "refused";
  /** A `policy` time out of its documented range: taken as the nearest allowed, or 400. A guess. Default `"clamp"`. */
  policyRange: "clamp" | "reject";
  /** Whether a request held for 100 s is cut with an HTML 524, as the service's edge does. Seen live. Default `false`. */
  edgeCut: boolean;
  /** Whether `/run` answers 429 while more than 50 jobs, and more than 500 for each worker, wait. Formerly documented. Default `false`. */
  queueLimit: boolean;
}

/** All values of each variant, the default first. */
export const variantValues: { readonly [Name in keyof Variants]: readonly [Variants[Name], ...Variants[Name][]] } = {
  authError: ["json", "empty"],
  notFoundBody: ["error", "detail"],
  executionTimeout: ["FAILED", "TIMED_OUT"],
  ttlExpiry: ["gone", "TIMED_OUT"],
  statusSync: ["held", "ignores-wait", "absent", "405"],
  purged: ["CANCELLED", "gone"],
  cancelFinished: ["unchanged", "error"],
  retryAfter: [false, "seconds", "date"],
  health: ["full", "two-fields"],
  runStatus: [200, 201],
  streamShape: ["object", "array"],
  streamOutput: ["absent", "empty"],
  objectError: ["COMPLETED", "FAILED"],
  runningStatus: ["IN_PROGRESS", "RUNNING"],
  loopbackWebhook: ["allowed", "refused"],
  policyRange: ["clamp", "reject"],
  edgeCut: [false, true],
  queueLimit: [false, true],
};

/** A variant that is not given has its default. */
function variant<const Values extends readonly [string | number | boolean, ...(string | number | boolean)[]]>(
  values: Values,
): z.ZodMiniType<Values[number], Values[number] | undefined> {
  return z._default(oneOf(values), values[0]);
}

/** Fills in the variants that are not given. */
export const variantsSchema: z.ZodMiniType<Variants, { [Name in keyof Variants]?: Variants[Name] | undefined }> =
  strict({
    authError: variant(variantValues.authError),
    notFoundBody: variant(variantValues.notFoundBody),
    executionTimeout: variant(variantValues.executionTimeout),
    ttlExpiry: variant(variantValues.ttlExpiry),
    statusSync: variant(variantValues.statusSync),
    purged: variant(variantValues.purged),
    cancelFinished: variant(variantValues.cancelFinished),
    retryAfter: variant(variantValues.retryAfter),
    health: variant(variantValues.health),
    runStatus: variant(variantValues.runStatus),
    streamShape: variant(variantValues.streamShape),
    streamOutput: variant(variantValues.streamOutput),
    objectError: variant(variantValues.objectError),
    runningStatus: variant(variantValues.runningStatus),
    loopbackWebhook: variant(variantValues.loopbackWebhook),
    policyRange: variant(variantValues.policyRange),
    edgeCut: variant(variantValues.edgeCut),
    queueLimit: variant(variantValues.queueLimit),
  });

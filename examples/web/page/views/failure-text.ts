import { type ErrorCode, isLayerDiffuseError, type LayerDiffuseError } from "layerdiffuse";
import type { PageConfig } from "../page-config.ts";
import { countImages } from "./format.ts";

/** An error in words for the person who wants an image. */
export interface FailureText {
  readonly title: string;
  readonly advice: string;
}

const texts: Record<ErrorCode, FailureText> = {
  configuration: { title: "This page isn't set up correctly", advice: "Tell the person who runs it." },
  invalid_input: { title: "This input isn't valid", advice: "Change the prompt, the seed or the size." },
  authentication: { title: "You are not signed in", advice: "Sign in again, then try again." },
  bad_request: { title: "The server refused this prompt", advice: "Shorten or change it." },
  endpoint_not_found: { title: "The image server was not found", advice: "Tell the person who runs this page." },
  rate_limited: { title: "Too many images at once", advice: "Wait a minute, then try again." },
  server: { title: "The server has a problem", advice: "Try again in a moment." },
  connection: {
    title: "The connection was lost",
    advice: "Check your network. An image that has started is not lost.",
  },
  submission_unknown: {
    title: "The connection broke while sending",
    advice: "The image may be generated all the same. If you try again, you generate another one.",
  },
  job_failed: { title: "The GPU could not generate this", advice: "Try again, or change the prompt." },
  job_cancelled: { title: "Someone cancelled this image", advice: "Try again if you still want it." },
  job_timed_out: { title: "Generating took too long", advice: "Try again, or choose a smaller size." },
  job_expired: { title: "This image is gone", advice: "It was only kept for a while. Generate it again." },
  generation_failed: { title: "The GPU could not generate this", advice: "Try again, or change the prompt." },
  queue_timeout: { title: "No GPU was free in time", advice: "Try again later." },
  execution_timeout: { title: "Generating took too long", advice: "Try again, or choose a smaller size." },
  invalid_response: { title: "The server's answer made no sense", advice: "Try again in a moment." },
  invalid_image: { title: "The image is damaged", advice: "Try again." },
  file: { title: "The image could not be saved", advice: "Try again." },
};

export function failureText(error: unknown): FailureText {
  const refusal = refusalOf(error);
  if (refusal !== undefined) return { title: "The GPU refused a setting", advice: refusal };
  return isLayerDiffuseError(error)
    ? texts[error.code]
    : { title: "Something went wrong on this page", advice: "Reload it." };
}

/** What the worker says of the field that it refuses, such as the name of a LoRA that isn't installed. */
function refusalOf(error: unknown): string | undefined {
  const failure = isLayerDiffuseError(error) && "failure" in error ? error.failure : undefined;
  return failure?.field === undefined ? undefined : failure.message;
}

/** Whether the same input would be refused again. */
export function isRefused(error: unknown): boolean {
  const isInvalid = isLayerDiffuseError(error, "bad_request") || isLayerDiffuseError(error, "invalid_input");
  return isInvalid || refusalOf(error) !== undefined;
}

/** Why the server has no room, while the page waits for it. */
export function pauseText(error: LayerDiffuseError, { concurrency, ratePerMinute }: PageConfig): string {
  if (error.code === "rate_limited") {
    return `The server allows ${countImages(concurrency)} at once and ${ratePerMinute} a minute, all your tabs counted.`;
  }
  return error.code === "connection" ? "The server can't be reached." : `${failureText(error).title}.`;
}

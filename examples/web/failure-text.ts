import { type ErrorCode, isLayerDiffuseError } from "layerdiffuse";

/** An error in the words of somebody who wants a picture. */
export interface FailureText {
  readonly title: string;
  readonly advice: string;
}

const texts: Record<ErrorCode, FailureText> = {
  configuration: { title: "This page is set up wrongly", advice: "Tell whoever runs it." },
  invalid_input: { title: "This cannot be drawn as it stands", advice: "Change the prompt, the seed or the size." },
  authentication: { title: "You are not signed in", advice: "Sign in again, then try again." },
  bad_request: { title: "The server refused this prompt", advice: "Shorten or change it." },
  endpoint_not_found: { title: "There is no server for pictures here", advice: "Tell whoever runs this page." },
  rate_limited: { title: "Too many pictures at once", advice: "Wait a minute, then try again." },
  server: { title: "The server has trouble", advice: "Try again in a moment." },
  connection: { title: "The connection was lost", advice: "Check your network. A picture that was begun is not lost." },
  submission_unknown: {
    title: "The connection broke while sending",
    advice: "The picture may be in the making, unseen. Trying again makes another.",
  },
  job_failed: { title: "The GPU could not draw this", advice: "Try again, or change the prompt." },
  job_cancelled: { title: "Somebody cancelled this picture", advice: "Try again if you still want it." },
  job_timed_out: { title: "Drawing took too long", advice: "Try again, or choose a smaller size." },
  job_expired: { title: "This picture is gone", advice: "It was kept for a while only. Make it again." },
  generation_failed: { title: "The GPU could not draw this", advice: "Try again, or change the prompt." },
  queue_timeout: { title: "No GPU came free in time", advice: "Try again later." },
  execution_timeout: { title: "Drawing took too long", advice: "Try again, or choose a smaller size." },
  invalid_response: { title: "The server's answer made no sense", advice: "Try again in a moment." },
  invalid_image: { title: "The picture came broken", advice: "Try again." },
  file: { title: "The picture could not be saved", advice: "Try again." },
};

export function failureText(error: unknown): FailureText {
  return isLayerDiffuseError(error)
    ? texts[error.code]
    : { title: "Something went wrong in this page", advice: "Load it again." };
}

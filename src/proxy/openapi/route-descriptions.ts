import type { RouteName } from "../routes.ts";
import type { SchemaName } from "./components.ts";
import type { ApiResponse, Parameter } from "./document-types.ts";

interface RouteAnswer {
  description: string;
  headers?: NonNullable<ApiResponse["headers"]>;
  /** Of a JSON body. */
  schema?: SchemaName;
  /** Of another body. */
  type?: string;
}

/** A route in words. The table of routes has its path and methods, and says whether it needs a token. */
export interface RouteOperation {
  summary: string;
  description?: string;
  /** Its part of the path that is not fixed. */
  path?: Pick<Parameter, "description" | "schema">;
  parameters?: readonly Parameter[];
  body?: SchemaName;
  answers: Record<number, RouteAnswer>;
  /** Statuses of problems to expect, beside those every route has. */
  problems?: readonly number[];
}

const header = (description: string, type = "string") => ({ description, schema: { type } });
export const retryAfter = header("Seconds to wait before the next request.", "integer");

/** What can be wrong with a body. */
const bodyProblems = [400, 408, 413, 415, 422];
const upstreamProblems = [429, 502];
/** What can be wrong with a submission; 503 while the limits cannot be checked. */
const submissionProblems = [...bodyProblems, ...upstreamProblems, 503];

const job = { description: "The job's id, from the answer to its submission.", schema: { type: "string" } };

const wait: Parameter = {
  name: "wait",
  in: "query",
  description: "The longest time to wait, in milliseconds. The server has a limit of its own.",
  schema: { type: "integer", minimum: 1_000, maximum: 300_000, examples: [30_000] },
};

const prefer: Parameter = {
  name: "Prefer",
  in: "header",
  description: "`respond-async` asks for an answer at once, `wait=10` for one within ten seconds. RFC 7240.",
  schema: { type: "string", examples: ["respond-async"] },
};

const query = (name: string, description: string): Parameter => ({
  name,
  in: "query",
  required: true,
  description,
  schema: { type: "string" },
});

/** One entry for each route: the compiler sees to that. */
export const operations: Readonly<Record<RouteName, RouteOperation>> = {
  txt2img: {
    summary: "Generate an image.",
    description:
      "Waits until the image is ready, or for as long as the server holds a request. After that, and when the endpoint or the storage fails in the meantime, you get an address to ask instead.",
    parameters: [prefer],
    body: "Txt2ImgRequest",
    answers: {
      200: { description: "The image is ready.", schema: "Txt2ImgAnswer" },
      202: {
        description: "The image is being generated.",
        headers: {
          location: header("The address to ask for it."),
          "retry-after": retryAfter,
          "preference-applied": header("`respond-async`, if you asked for it."),
        },
        schema: "Accepted",
      },
    },
    problems: [...submissionProblems, 404, 409, 504],
  },
  job: {
    summary: "Get the progress of an image, or its address.",
    path: job,
    answers: {
      202: {
        description: "The image is being generated.",
        headers: { "retry-after": retryAfter },
        schema: "UnderWay",
      },
      303: {
        description: "The image is ready.",
        headers: { location: header("The address of the image.") },
        schema: "Txt2ImgAnswer",
      },
    },
    // 422 if the worker refused the input.
    problems: [404, 409, 422, ...upstreamProblems, 504],
  },
  file: {
    summary: "Download an image.",
    description: "Needs no token, because the name cannot be guessed. Whoever has the name can download the image.",
    path: { description: "The image's `filename`.", schema: { type: "string" } },
    parameters: [
      {
        name: "inline",
        in: "query",
        description: "Have browsers show the image instead of saving it.",
        schema: { type: "string" },
      },
      { name: "Range", in: "header", description: "One range of bytes.", schema: { type: "string" } },
      {
        name: "If-None-Match",
        in: "header",
        description: "The ETag of an earlier answer.",
        schema: { type: "string" },
      },
    ],
    answers: {
      200: { description: "The PNG.", headers: { etag: header("Never changes.") }, type: "image/png" },
      206: {
        description: "A part of the PNG.",
        headers: { "content-range": header("Which part.") },
        type: "image/png",
      },
      304: { description: "The image has not changed." },
      416: {
        description: "The image has no such range.",
        headers: { "content-range": header("The size of the image.") },
      },
    },
    problems: [400, 404],
  },
  run: {
    summary: "Submit a job.",
    description: "For the client of the package `layerdiffuse`. Only `input` is read from the body.",
    body: "RunRequest",
    answers: { 200: { description: "The job.", schema: "Job" } },
    problems: submissionProblems,
  },
  runsync: {
    summary: "Submit a job and wait for it to end.",
    description: "If the job takes longer than the wait, ask `status-sync` for it.",
    body: "RunRequest",
    parameters: [wait],
    answers: { 200: { description: "The job, whether or not it has ended.", schema: "Job" } },
    problems: submissionProblems,
  },
  status: {
    summary: "Get a job's state.",
    path: job,
    answers: { 200: { description: "The job.", schema: "Job" } },
    problems: [404, ...upstreamProblems],
  },
  "status-sync": {
    summary: "Wait for a job to end.",
    path: job,
    parameters: [wait],
    answers: { 200: { description: "The job, whether or not it has ended.", schema: "Job" } },
    problems: [404, ...upstreamProblems],
  },
  cancel: {
    summary: "Cancel a job.",
    path: job,
    answers: { 200: { description: "The job.", schema: "Job" } },
    problems: [404, ...upstreamProblems],
  },
  health: {
    summary: "Count jobs and workers.",
    answers: { 200: { description: "The counts.", schema: "Health" } },
    problems: upstreamProblems,
  },
  webhook: {
    summary: "Receive the end of a job from RunPod.",
    description:
      "For RunPod alone, which gets a signed address. The image is read from the endpoint, never from this request.",
    parameters: [
      query("at", "When the address was made."),
      query("for", "For whom."),
      query("key", "The address's signature."),
    ],
    body: "EndedJob",
    answers: { 200: { description: "The call was received.", schema: "Received" } },
    problems: [400, 401, 408, 413, 415, ...upstreamProblems, 503],
  },
};

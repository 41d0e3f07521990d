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

/** A route in words. Its path, methods and who may ask are the routes' table's to say. */
export interface RouteOperation {
  summary: string;
  description?: string;
  /** Its part of the path that is not fixed. */
  path?: Pick<Parameter, "description" | "schema">;
  parameters?: readonly Parameter[];
  body?: SchemaName;
  answers: Record<number, RouteAnswer>;
  /** Statuses of problems to reckon with, beside those every route has. */
  problems?: readonly number[];
}

const header = (description: string, type = "string") => ({ description, schema: { type } });
const retryAfter = header("Seconds before it is worth asking again.", "integer");

/** What can be wrong with a body. */
const bodyProblems = [400, 408, 413, 415, 422];
const upstreamProblems = [429, 502];
/** What can be wrong with a submission; 503 where nobody can count just now. */
const submissionProblems = [...bodyProblems, ...upstreamProblems, 503];

const job = { description: "The job, as it was answered at its submission.", schema: { type: "string" } };

const wait: Parameter = {
  name: "wait",
  in: "query",
  description: "Milliseconds to be held at most; the server has a limit of its own.",
  schema: { type: "integer", minimum: 1_000, maximum: 300_000, examples: [30_000] },
};

const prefer: Parameter = {
  name: "Prefer",
  in: "header",
  description: "`respond-async`: an answer at once. `wait=10`: after ten seconds at most. RFC 7240.",
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
    summary: "Make a picture.",
    description:
      "Held until it is made, or for as long as the server holds a request; then there is an address to ask, as there is where endpoint or storage fail meanwhile.",
    parameters: [prefer],
    body: "Txt2ImgRequest",
    answers: {
      200: { description: "It is made.", schema: "Txt2ImgAnswer" },
      202: {
        description: "It is being made.",
        headers: {
          location: header("The address to ask."),
          "retry-after": retryAfter,
          "preference-applied": header("`respond-async`, where that was preferred."),
        },
        schema: "Accepted",
      },
    },
    problems: [...submissionProblems, 404, 409, 504],
  },
  job: {
    summary: "Ask how a picture gets on.",
    path: job,
    answers: {
      202: { description: "It is being made.", headers: { "retry-after": retryAfter }, schema: "UnderWay" },
      303: { description: "It is made.", headers: { location: header("The address of the file.") } },
    },
    problems: [404, 409, ...upstreamProblems, 504],
  },
  file: {
    summary: "Fetch a picture.",
    description: "For whoever has its name, which cannot be guessed.",
    path: { description: "The name, as it was answered.", schema: { type: "string" } },
    parameters: [
      { name: "inline", in: "query", description: "To be shown, not saved.", schema: { type: "string" } },
      { name: "Range", in: "header", description: "One range of bytes.", schema: { type: "string" } },
      { name: "If-None-Match", in: "header", description: "The ETag of the last time.", schema: { type: "string" } },
    ],
    answers: {
      200: { description: "The PNG.", headers: { etag: header("Never changes.") }, type: "image/png" },
      206: {
        description: "A part of the PNG.",
        headers: { "content-range": header("Which part.") },
        type: "image/png",
      },
      304: { description: "It has not changed." },
      416: { description: "It has no such range.", headers: { "content-range": header("Its size.") } },
    },
    problems: [400, 404],
  },
  run: {
    summary: "Submit a job.",
    description: "For the client of the package `layerdiffuse`; of the body only `input` counts.",
    body: "RunRequest",
    answers: { 200: { description: "The job.", schema: "Job" } },
    problems: submissionProblems,
  },
  runsync: {
    summary: "Submit a job, and wait for it for a while.",
    body: "RunRequest",
    parameters: [wait],
    answers: { 200: { description: "The job, ended or not.", schema: "Job" } },
    problems: submissionProblems,
  },
  status: {
    summary: "Ask for a job's state.",
    path: job,
    answers: { 200: { description: "The job.", schema: "Job" } },
    problems: [404, ...upstreamProblems],
  },
  "status-sync": {
    summary: "Wait for a job for a while.",
    path: job,
    parameters: [wait],
    answers: { 200: { description: "The job, ended or not.", schema: "Job" } },
    problems: [404, ...upstreamProblems],
  },
  cancel: {
    summary: "Stop a job.",
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
    summary: "For RunPod: tells that a job has ended.",
    description: "Its address is signed and given to RunPod alone. The picture is what the endpoint says when asked.",
    parameters: [query("at", "When it was given out."), query("for", "For whom."), query("key", "Its signature.")],
    body: "EndedJob",
    answers: { 200: { description: "It was heard.", schema: "Received" } },
    problems: [400, 401, 408, 413, 415, ...upstreamProblems, 503],
  },
};

import { readFile } from "node:fs/promises";
import * as z from "zod/mini";
import { isTerminal } from "../../protocol/job.ts";
import { check, issueText, read } from "../../schema/check.ts";
import { jobText } from "../client-side/job-body.ts";
import { type Answer, type Call, errorAnswer, jsonAnswer } from "../http/exchange.ts";
import type { Job } from "../jobs/local-job.ts";
import { packageFile } from "../package-files.ts";
import { pictureInOutput } from "./image-in-output.ts";
import { readSelection, resultText } from "./job-list.ts";
import { type PageSource, pageState } from "./page-state.ts";

export type { PageSource } from "./page-state.ts";

const scripts = ["page", "actions", "elements", "faults", "job-row", "jobs", "viewer", "workers"];
const files = new Map([
  ["/", { url: packageFile("status-page/index.html"), type: "text/html; charset=utf-8" }],
  ["/page/page.css", { url: packageFile("status-page/page.css"), type: "text/css; charset=utf-8" }],
  ...scripts.map((name) => {
    const file = { url: packageFile(`status-page/${name}.js`), type: "text/javascript; charset=utf-8" };
    return [`/page/${name}.js`, file] as const;
  }),
]);

/** The page loads nothing from elsewhere, no other site may frame, read or embed it, and nothing is cached. */
const safety = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
};

/** An hour is the longest cold start that the page sets. */
const coldStartSchema = z.object({
  seconds: z.custom<number>((value) => typeof value === "number" && value >= 0 && value <= 3_600, {
    error: "must be a number from 0 to 3600",
  }),
});

const bodySchema = z.record(z.string(), z.unknown());

/** The page at `/`. It shows what the endpoint does and can change a few things. Only this computer may open it. */
export class StatusPage {
  readonly #source: PageSource;
  readonly #texts = new Map<string, string>();

  constructor(source: PageSource) {
    this.#source = source;
  }

  /** Answers requests for the page. Undefined for any other path. */
  answer(call: Call): Promise<Answer> | Answer | undefined {
    if (call.pathname !== "/" && !call.pathname.startsWith("/page/")) return undefined;
    const refusal = refusalOf(call);
    if (refusal !== undefined) return safe({ status: 403, headers: { "content-type": "text/plain" }, body: refusal });
    const answer = this.#route(call);
    return answer instanceof Promise ? answer.then(safe) : safe(answer);
  }

  #route(call: Call): Promise<Answer> | Answer {
    const { pathname } = call;
    const file = files.get(pathname);
    if (file !== undefined) return onRead(call, () => this.#file(file));
    if (pathname === "/page/state") {
      const selection = readSelection(call.query);
      return onRead(call, () => jsonAnswer(200, JSON.stringify(pageState(this.#source, selection))));
    }
    if (pathname === "/page/purge") return onChange(call, () => ({ removed: this.#source.purge() }));
    if (pathname === "/page/cold-start") return onChange(call, () => this.#setColdStart(call.body));
    if (pathname === "/page/faults") return onChange(call, () => this.#addFault(call.body));
    if (pathname === "/page/faults/clear") return onChange(call, () => this.#clearFaults());
    const [, id, part] = /^\/page\/jobs\/([^/]+)(?:\/(picture|cancel))?$/.exec(pathname) ?? [];
    if (id === undefined) return notFound("there is no such page; the status page is at /");
    const job = this.#source.job(decoded(id));
    if (job === undefined) return notFound("there is no such job; it may have been deleted");
    if (part === "picture") return onRead(call, () => pictureOf(job));
    if (part === "cancel") return onChange(call, () => this.#cancel(job));
    return onRead(call, () => jsonAnswer(200, jobText(job, "IN_PROGRESS")));
  }

  async #file({ url, type }: { url: URL; type: string }): Promise<Answer> {
    const text = this.#texts.get(url.href) ?? (await readFile(url, "utf8"));
    this.#texts.set(url.href, text);
    return { status: 200, headers: { "content-type": type }, body: text };
  }

  #cancel(job: Job): object {
    if (isTerminal(job.status)) throw new TypeError(`the job has ended already: it is ${job.status}`);
    this.#source.cancel(job);
    return { status: job.status };
  }

  #setColdStart(body: string): object {
    const { issues, value } = check(coldStartSchema, parsed(body));
    if (issues) throw new TypeError(issues.map(issueText).join("; "));
    const { seconds } = value;
    this.#source.coldStart = seconds * 1_000;
    return { seconds };
  }

  #addFault(body: string): object {
    this.#source.faults.add(parsed(body));
    return { active: this.#source.faults.active.length };
  }

  #clearFaults(): object {
    const cleared = this.#source.faults.active.length;
    this.#source.faults.clear();
    return { cleared };
  }
}

/** Why a call is refused: it came from another computer, or from the page of another site. */
function refusalOf({ isLocal, headers, method }: Call): string | undefined {
  if (!isLocal) return "The status page can be opened only on the computer that the endpoint runs on.";
  // Under a public name that points here (DNS rebinding), another site's page would have this origin.
  if (!isLoopbackHost(headers["host"])) {
    return "The status page answers only to 127.0.0.1, [::1] and localhost. Open it under one of these.";
  }
  if (method === "GET" || method === "HEAD") return undefined;
  // A browser asks before it sends this header to another origin, and never gets permission.
  const isOwn = headers["x-layerdiffuse-page"] === "1";
  const site = headers["sec-fetch-site"];
  if (isOwn && (site === undefined || site === "same-origin")) return undefined;
  return "Only the status page itself may do this: send the header x-layerdiffuse-page: 1, and not from another site.";
}

function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host);
}

function onRead(call: Call, give: () => Promise<Answer> | Answer): Promise<Answer> | Answer {
  return call.method === "GET" || call.method === "HEAD" ? give() : wrongMethod("GET, HEAD");
}

/** Carries out a POST. A TypeError says what is wrong with the request, and is the answer. */
function onChange(call: Call, perform: () => object): Answer {
  if (call.method !== "POST") return wrongMethod("POST");
  try {
    return jsonAnswer(200, JSON.stringify(perform()));
  } catch (error) {
    if (error instanceof TypeError) return errorAnswer(400, error.message);
    throw error;
  }
}

function wrongMethod(allow: string): Answer {
  const refusal = errorAnswer(405, `method not allowed; send ${allow}`);
  return { ...refusal, headers: { ...refusal.headers, allow } };
}

function notFound(error: string): Answer {
  return errorAnswer(404, error);
}

function pictureOf(job: Job): Answer {
  const text = resultText(job, "output");
  const picture = text === undefined ? undefined : pictureInOutput(text);
  if (picture === undefined) return notFound("the job's output has no image");
  return {
    status: 200,
    headers: { "content-type": picture.contentType, "content-security-policy": "sandbox" },
    body: picture.bytes(),
  };
}

/** Adds the headers of all answers. Those of the answer itself take precedence. */
function safe(answer: Answer): Answer {
  return { ...answer, headers: { ...safety, ...answer.headers } };
}

function parsed(body: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    throw new TypeError("the body must be JSON", { cause });
  }
  const fields = read(bodySchema, value);
  if (fields === undefined) throw new TypeError("the body must be a JSON object");
  return fields;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    // No job has such an id, so none will be found.
    return segment;
  }
}

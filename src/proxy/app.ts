import type { Context } from "hono";
import { type RequestIdVariables, requestId } from "hono/request-id";
import { Hono } from "hono/tiny";
import { isLayerDiffuseError } from "../errors/index.ts";
import { isTerminal } from "../protocol/job.ts";
import type { Queue } from "../runpod/queue.ts";
import { pace } from "../runpod/wait.ts";
import { type Clock, sleep } from "../runtime/clock.ts";
import { CallerLimits } from "./access/caller-limits.ts";
import { Cors } from "./access/cors.ts";
import { JobQuestions } from "./access/job-questions.ts";
import { MemoryJobStore } from "./access/job-store.ts";
import { JobTokens } from "./access/job-tokens.ts";
import { memoryLimiter } from "./access/rate-limiter.ts";
import { fileAnswer } from "./images/file-answer.ts";
import { StoredImages } from "./images/stored-images.ts";
import { CallerJobs } from "./jobs/caller-jobs.ts";
import { serverStopping } from "./jobs/drain.ts";
import { QueueRoutes } from "./jobs/queue-routes.ts";
import { Txt2ImgRoutes } from "./jobs/txt2img-routes.ts";
import { WebhookRoute } from "./jobs/webhook-route.ts";
import {
  type ProxyErrorContext,
  type ProxyInternals,
  type ProxyOptions,
  resolveOptions,
  type Settings,
} from "./options.ts";
import { badRequest, notBegun, Problem, pageNotFound } from "./problem.ts";
import {
  callersPaths,
  type Handler,
  type ProxyCall,
  patternsOf,
  placeOf,
  type Route,
  type RouteName,
  routes,
} from "./routes.ts";
import { problemOf } from "./upstream-problem.ts";

/** Answers a request and never rejects. Mount it under any path: it looks for its routes at the end of the path. */
export type ProxyHandler = (request: Request) => Promise<Response>;

/** Does what `createProxy` does, on a clock of the caller's. */
export function proxyOn(options: ProxyOptions, internals: ProxyInternals): ProxyHandler {
  const { app } = new ProxyServer(resolveOptions(options, internals), internals);
  return async (request) => await app.fetch(request);
}

interface Environment {
  Variables: RequestIdVariables;
}

/** Checks who may call, hands requests to their routes, and turns every failure into an answer. */
class ProxyServer {
  /** As it stands: a path that is decoded before it is compared could be another route than the one in front saw. */
  readonly app = new Hono<Environment>({ getPath: (request) => new URL(request.url).pathname });
  readonly #settings: Settings;
  readonly #cors: Cors;
  readonly #images: StoredImages;
  readonly #clock: Clock;
  readonly #closing: AbortSignal | undefined;
  readonly #handlers: { readonly [Name in RouteName]: Handler };

  constructor(settings: Settings, internals: ProxyInternals) {
    const { signer, origins, publicUrl, storage } = settings;
    this.#settings = settings;
    this.#clock = internals.clock;
    this.#closing = internals.stopping?.closing;
    this.#cors = new Cors(origins, publicUrl);
    this.#images = new StoredImages(storage, signer, internals.clock);
    const tokens = new JobTokens(signer, () => Math.floor(internals.wallTime() / 1000));
    const jobs = new CallerJobs(settings, internals, tokens, limitsOf(settings, internals));
    const queue = new QueueRoutes(settings, internals, jobs);
    const txt2img = new Txt2ImgRoutes(settings, internals, jobs, this.#images);
    this.#handlers = {
      run: queue.run,
      runsync: queue.runsync,
      status: queue.status,
      "status-sync": queue.statusSync,
      cancel: queue.cancel,
      health: queue.health,
      txt2img: txt2img.submit,
      job: txt2img.job,
      file: this.#file,
      webhook: new WebhookRoute(settings, internals, jobs, this.#images).receive,
    };
    this.#mount();
  }

  /** Registers what every answer gets, and the routes. */
  #mount(): void {
    const { app } = this;
    app.use(requestId());
    app.use(async (context, next) => {
      await next();
      // Not by the context, which would copy the answer.
      const { headers } = context.res;
      headers.set("x-content-type-options", "nosniff");
      headers.set("referrer-policy", "no-referrer");
      if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
      // Hono's own header is only for answers that its context makes. What is kept is the answer to no one request.
      if (headers.get("cache-control") === "no-store") headers.set("x-request-id", context.get("requestId"));
      for (const [name, value] of Object.entries(this.#cors.headersFor(context.req.raw))) headers.set(name, value);
    });
    for (const route of routes) {
      for (const pattern of patternsOf(route)) app.all(pattern, (context) => this.#answer(route, context));
    }
    app.all("*", () => pageNotFound(callersPaths).toResponse());
  }

  async #answer(route: Route, context: Context<Environment>): Promise<Response> {
    const request = context.req.raw;
    const errorContext = { route: route.name, requestId: context.get("requestId") };
    const known: Known = { context: errorContext, outcome: { submitted: "no" } };
    try {
      return await this.#call(route, request, known);
    } catch (error) {
      return this.#failure(error, request, route, known);
    }
  }

  async #call(route: Route, request: Request, { context, outcome }: Known): Promise<Response> {
    const arrivedAt = this.#clock.now();
    if (request.method === "OPTIONS") return this.#cors.preflight(request, route.methods);
    if (!route.methods.includes(request.method)) throw wrongMethod(route);
    this.#cors.refuseForeign(request);
    if (this.#closing?.aborted) throw serverStopping();
    const subject = route.isOpen ? "" : await this.#subjectOf(request);
    if (subject !== "") context.subject = subject;
    const url = new URL(request.url);
    const call: ProxyCall = { request, arrivedAt, url, ...placeOf(route, url.pathname), subject, outcome };
    return await this.#handlers[route.name](call);
  }

  async #subjectOf(request: Request): Promise<string> {
    const subject = await this.#authorized(request);
    if (subject !== null) return subject;
    throw new Problem({
      status: 401,
      code: "authentication",
      detail:
        "The server does not know who you are. Sign in, or send the headers it asks for, such as `Authorization: Bearer …`.",
      headers: { "www-authenticate": "Bearer" },
    });
  }

  async #authorized(request: Request): Promise<string | null> {
    try {
      return await this.#settings.authorize(request);
    } catch (cause) {
      throw notBegun("The server cannot find out who you are right now.", cause);
    }
  }

  readonly #file: Handler = async ({ request, parameter }) => {
    if (!StoredImages.isName(parameter)) {
      // A name that could lead out of the storage is never looked up.
      if (!/^[\w.-]{1,100}$/.test(parameter) || parameter.includes("..")) throw badRequest("Invalid filename.");
      throw fileNotFound();
    }
    const bytes = await this.#images.load(parameter);
    if (!bytes) throw fileNotFound();
    return await fileAnswer(request, parameter, bytes);
  };

  #failure(error: unknown, request: Request, route: Route, { context, outcome }: Known): Response {
    const problem = request.signal.aborted ? left(error) : problemOf(error, this.#settings.clean);
    const { status, cause } = problem.details;
    if (cause !== undefined && status !== 499) this.#settings.onError(cause, { ...context, status });
    return new Problem({ ...(route.submits && outcome), ...problem.details }).toResponse();
  }
}

/** Counts in the stores that instances share, or in this process if there are none. */
function limitsOf(settings: Settings, { clock }: ProxyInternals): CallerLimits {
  const { limits, limiter, policy, onError } = settings;
  return new CallerLimits({
    rate: limiter.rate ?? memoryLimiter(limits.ratePerMinute, 60),
    jobs: limiter.jobs ?? new MemoryJobStore(clock),
    mostJobs: limits.concurrency,
    lifetime: policy.ttl,
    questions: new JobQuestions((id, signal) => hasEnded(settings.direct, clock, id, signal), clock),
    clock,
    onError: (error) => onError(error, { status: 200 }),
  });
}

/** Asks the endpoint whether a job has ended. A 404 may pass, so only a second one is believed. */
async function hasEnded(queue: Queue, clock: Clock, id: string, signal: AbortSignal): Promise<boolean> {
  const isOver = async () => isTerminal((await queue.status(id, { signal })).status);
  const isGone = (error: unknown) => isLayerDiffuseError(error, "job_expired");
  try {
    return await isOver();
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  await sleep(clock, pace.confirm, signal);
  try {
    return await isOver();
  } catch (error) {
    if (isGone(error)) return true;
    throw error;
  }
}

/** What is known about a request, filled in along the way for the answer to a failure. */
interface Known {
  readonly context: Omit<ProxyErrorContext, "status">;
  readonly outcome: ProxyCall["outcome"];
}

function fileNotFound(): Problem {
  return new Problem({
    status: 404,
    code: "bad_request",
    detail: "File not found. It is no longer stored, or never was.",
  });
}

/** Nobody reads this answer. */
function left(cause: unknown): Problem {
  return new Problem({ status: 499, code: "connection", detail: "The caller has left.", cause });
}

function wrongMethod({ methods }: Route): Problem {
  const allow = [...methods, "OPTIONS"].join(", ");
  return new Problem({
    status: 405,
    code: "bad_request",
    detail: `This address only takes ${allow}.`,
    headers: { allow },
  });
}

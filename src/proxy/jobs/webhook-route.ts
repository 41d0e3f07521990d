import * as z from "zod/mini";
import { isLayerDiffuseError } from "../../errors/index.ts";
import { decodeImage } from "../../image/decode-image.ts";
import { isTerminal, jobFields, terminalStatuses } from "../../protocol/job.ts";
import { limits } from "../../protocol/limits.ts";
import { service } from "../../protocol/service-rules.ts";
import { read } from "../../schema/check.ts";
import type { StoredImages } from "../images/stored-images.ts";
import type { ProxyInternals, Settings } from "../options.ts";
import { badRequest, Problem } from "../problem.ts";
import { readTextBody } from "../request-body.ts";
import type { Handler } from "../routes.ts";
import type { CallerJobs } from "./caller-jobs.ts";

/** The service's largest result, with room for the job around it. */
const mostBytes = limits.runSyncBodyBytes + 1024 * 1024;

/** The query of a webhook's address: when it was made (seconds since 1970), for whom, and the signature. */
const addressQuery = z.object({ at: z.string().check(z.regex(/^\d{1,12}$/)), for: z.string(), key: z.string() });

/** The service sends the whole job. Only these fields are read. */
export const endedJobBody = z.object({ id: jobFields.id, status: z.enum(terminalStatuses) });

export const receivedBody = z.object({ received: z.literal(true) });

/** Receives the service's call at the end of a job, and stores the image even if nobody asks for it. */
export class WebhookRoute {
  readonly #settings: Settings;
  readonly #internals: ProxyInternals;
  readonly #jobs: CallerJobs;
  readonly #images: StoredImages;

  constructor(settings: Settings, internals: ProxyInternals, jobs: CallerJobs, images: StoredImages) {
    this.#settings = settings;
    this.#internals = internals;
    this.#jobs = jobs;
    this.#images = images;
  }

  readonly receive: Handler = async ({ request, url: { searchParams } }) => {
    const { clock } = this.#internals;
    const { at, who, key } = await this.#check(searchParams);
    const text = await readTextBody(request, { clock, mostBytes });
    const told = read(endedJobBody, parse(text));
    if (!told) throw badRequest("The body is not a job that has ended.");
    // The service does not sign its calls, so the call is only a reason to ask.
    const state = await this.#settings.patient.status(told.id, {}).catch((error: unknown) => {
      if (isLayerDiffuseError(error, "job_expired")) return undefined;
      throw error;
    });
    // The endpoint may learn about the end a moment later. Then the service calls again.
    if (state && !isTerminal(state.status)) throw notEnded();
    if (state) {
      const job = { id: state.id, issued: Number(at), key };
      await this.#jobs.ended(who, job);
      const name = await this.#images.nameOf(job);
      if (state.status === "COMPLETED" && !(await this.#images.has(name))) {
        try {
          const { patient } = this.#settings;
          const { bytes } = await decodeImage(state, {}, (url) => patient.download(url, state.id));
          await this.#images.store(name, bytes);
        } catch (error) {
          // A job without an image will never have one. A storage or a link may recover, so the service should call again.
          if (!isLayerDiffuseError(error) || error.retryable) throw error;
          this.#settings.onError(error, { route: "webhook", status: 200 });
        }
      }
    }
    const answer: z.output<typeof receivedBody> = { received: true };
    return Response.json(answer);
  };

  /**
   * Checks the address's signature. `key` is the secret that signed it.
   *
   * @throws Problem 401
   */
  async #check(query: URLSearchParams): Promise<{ at: string; who: string; key: number }> {
    const { signer, policy } = this.#settings;
    const address = read(addressQuery, { at: query.get("at"), for: query.get("for"), key: query.get("key") });
    if (address) {
      const { at, for: who } = address;
      const key = await signer.check(["webhook", at, who], address.key);
      const lifetime = policy.ttl + service.runRetention;
      const isOver = Number(at) * 1000 + lifetime <= this.#internals.wallTime();
      if (key !== undefined && !isOver) return { at, who, key };
    }
    throw new Problem({ status: 401, code: "authentication", detail: "This address was not made for a webhook." });
  }
}

function notEnded(): Problem {
  const detail = "The endpoint does not know yet that this job has ended. Call again later.";
  return new Problem({ status: 503, code: "server", detail, headers: { "retry-after": "2" } });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Then it is no job.
    return undefined;
  }
}

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryJobStore } from "../../../../src/proxy/access/job-store.ts";
import { proxyOn } from "../../../../src/proxy/app.ts";
import type { ProxyHandler, ProxyOptions } from "../../../../src/proxy/index.ts";
import { picture } from "../../../helpers/local.ts";
import { ManualClock, turns } from "../../../helpers/manual-clock.ts";
import { bodyOf, dateFollows, epoch, isSigning, mount, secret } from "../../../helpers/proxy.ts";

const concurrency = 2;
const isOver = (status: string) => !["IN_QUEUE", "IN_PROGRESS"].includes(status);

interface Job {
  id: string;
  status: string;
  webhook: string;
}

/** A request at the endpoint: what it asks for happens at its first step, and its answer goes out with the second. */
interface Pending {
  path: string;
  isHeld: boolean;
  isSubmission: boolean;
  step(): void;
  /** Answers that nothing was submitted. */
  refuse(): void;
}

/** Callers, endpoint and network, each of whose steps the test takes when it likes. */
class World {
  readonly clock = new ManualClock();
  readonly jobs: Job[] = [];
  pending: Pending[] = [];
  webhooks: Job[] = [];
  readonly tokens = new Set<string>();
  /** Requests of the callers that are under way. */
  readonly asking = new Map<AbortController, string>();
  /** Instances, which take turns. */
  readonly #handlers: ProxyHandler[];
  #asked = 0;

  /** @param instances how many there are, with one store of jobs for all if there are several */
  constructor(instances: number) {
    const internals = { clock: this.clock, random: () => 0.5, wallTime: () => epoch + this.clock.now() };
    const options: ProxyOptions = {
      authorize: () => "alice",
      secret,
      endpointId: "local",
      apiKey: "local",
      baseUrl: "https://upstream.test/v2",
      publicUrl: new URL(mount).origin,
      fetch: (input, init) => this.#fetch(new URL(String(input)), init),
      limits: { concurrency, ratePerMinute: 1_000 },
      ...(instances > 1 && { limiter: { jobs: new MemoryJobStore(this.clock) } }),
    };
    dateFollows(this.clock);
    this.#handlers = Array.from({ length: instances }, () => proxyOn(options, internals));
  }

  /** Jobs that draw, or are about to be submitted: what the limit is about. */
  get live(): number {
    const submitting = this.pending.filter(({ isSubmission }) => isSubmission).length;
    return submitting + this.jobs.filter(({ status }) => !isOver(status)).length;
  }

  /** Sends a request without waiting for its answer. */
  ask(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<number> {
    const left = new AbortController();
    this.asking.set(left, path);
    const request = new Request(path.startsWith("http") ? path : `${mount}/${path}`, {
      ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
      headers: { ...headers, "content-type": "application/json" },
      signal: left.signal,
    });
    const handler = this.#handlers[this.#asked++ % this.#handlers.length];
    if (!handler) throw new Error("There is no instance.");
    return handler(request).then(async (response) => {
      this.asking.delete(left);
      const isJson = response.headers.get("content-type")?.includes("json");
      const { id, job } = isJson ? await bodyOf(response) : {};
      for (const token of [id, job]) if (typeof token === "string") this.tokens.add(token);
      return response.status;
    });
  }

  deliver(job: Job): Promise<number> {
    this.webhooks = this.webhooks.filter((each) => each !== job);
    return this.ask(job.webhook, { id: job.id, status: job.status });
  }

  end(job: Job, status: string): void {
    if (isOver(job.status)) return;
    job.status = status;
    // The service calls for these two only.
    if (status === "COMPLETED" || status === "FAILED") this.webhooks.push(job);
  }

  /** Long enough for a request to be given up, so what is not held is answered before: what is lost counts until its time is over. */
  async wait(milliseconds: number): Promise<void> {
    await this.answer();
    await this.clock.pass(milliseconds);
  }

  async answer(): Promise<void> {
    await this.settle();
    for (let request = this.#unheld; request; request = this.#unheld) {
      request.step();
      await this.settle();
    }
  }

  get #unheld(): Pending | undefined {
    return this.pending.find(({ isHeld }) => !isHeld);
  }

  /** Everything that needs no time and no step. */
  async settle(): Promise<void> {
    do await turns(6);
    while (isSigning());
  }

  /** Until all callers have their answers. */
  async finish(): Promise<void> {
    for (let round = 0; round < 400 && this.asking.size > 0; round++) await this.wait(500);
    expect([...this.asking.values()]).toEqual([]);
  }

  #fetch(url: URL, init: RequestInit = {}): Promise<Response> {
    const [operation = "", id] = url.pathname.replace("/v2/local/", "").split("/");
    return new Promise((resolve, reject) => {
      let job = this.jobs.find((each) => each.id === id);
      let isArrived = false;
      const over = () => {
        this.pending = this.pending.filter((each) => each !== request);
      };
      const step = () => {
        if (isArrived) {
          over();
          return resolve(job ? Response.json(answerOf(job)) : Response.json({ error: "not found" }, { status: 404 }));
        }
        isArrived = true;
        if (operation === "run") {
          const { webhook } = JSON.parse(String(init.body));
          job = { id: `job-${this.jobs.length}`, status: "IN_QUEUE", webhook };
          this.jobs.push(job);
        }
        if (operation === "cancel" && job) this.end(job, "CANCELLED");
      };
      const request: Pending = {
        path: url.pathname.replace("/v2/local/", ""),
        get isSubmission() {
          return operation === "run" && !isArrived;
        },
        get isHeld() {
          return operation === "status-sync" && isArrived && job !== undefined && !isOver(job.status);
        },
        step,
        refuse: () => {
          over();
          resolve(Response.json({ error: "no" }, { status: 401 }));
        },
      };
      init.signal?.addEventListener("abort", () => {
        over();
        reject(init.signal?.reason);
      });
      this.pending.push(request);
    });
  }
}

function answerOf({ id, status }: Job): unknown {
  return {
    id,
    status,
    ...(status === "COMPLETED" && { output: picture }),
    ...(status === "FAILED" && { error: "no" }),
  };
}

const prompt = "a red apple";

type Happening = [what: string, happen: () => unknown];

/** What may happen next, in whatever order. */
function happenings(world: World): Happening[] {
  const { jobs, pending, webhooks, tokens, asking } = world;
  const begun = jobs.filter(({ status }) => !isOver(status));
  return [
    ["run", () => world.ask("run", { input: { prompt } })],
    ["runsync", () => world.ask("runsync", { input: { prompt } })],
    ["txt2img", () => world.ask("alpha/v1/txt2img", { prompt })],
    ["txt2img, later", () => world.ask("alpha/v1/txt2img", { prompt }, { prefer: "respond-async" })],
    ["1 s", () => world.clock.pass(1_000)],
    ["20 s", () => world.wait(20_000)],
    // Three times as likely as the rest, or nothing would come to its end.
    ...[...pending, ...pending, ...pending].map(({ path, step }): Happening => [`step of ${path}`, step]),
    ...pending.flatMap(({ isSubmission, refuse }): Happening[] => (isSubmission ? [["a run is refused", refuse]] : [])),
    ...[...asking]
      .filter(([, path]) => !path.includes("webhook"))
      .map(([caller, path]): Happening => [`${path} left`, () => caller.abort(new Error("left"))]),
    ...begun.map((job): Happening => [`${job.id} completes`, () => world.end(job, "COMPLETED")]),
    ...begun.map((job): Happening => [`${job.id} fails`, () => world.end(job, "FAILED")]),
    ...webhooks.map((job): Happening => [`call for ${job.id}`, () => world.deliver(job)]),
    ...[...tokens].flatMap((token): Happening[] => [
      ...[`status/${token}`, `status-sync/${token}`, `alpha/v1/job/${token}`].map(
        (path): Happening => [path, () => world.ask(path)],
      ),
      [`cancel/${token}`, () => world.ask(`cancel/${token}`, {})],
    ]),
  ];
}

/** By the service's call where there is one, else by the caller. */
async function seeAllEnds(world: World): Promise<void> {
  for (const job of world.webhooks) {
    void world.deliver(job);
    await world.finish();
  }
  const cancelled = new Set(world.jobs.flatMap(({ id, status }) => (status === "CANCELLED" ? [id] : [])));
  for (const token of world.tokens) {
    if (cancelled.has(token.split(".")[3] ?? "")) void world.ask(`status/${token}`);
    await world.finish();
  }
}

describe("a place among the jobs at once", () => {
  it.each([
    ["one instance", 1],
    ["two instances with one store", 2],
  ])("is neither lost nor given twice, whatever happens in which order: %s", async (_who, instances) => {
    const choice = fc.noBias(fc.integer({ min: 0, max: 1_000_000 }));
    const choicesOf = fc.array(choice, { minLength: 20, maxLength: 60, size: "max" });
    await fc.assert(
      fc.asyncProperty(choicesOf, fc.boolean(), async (choices, areTabsClosed) => {
        const world = new World(instances);
        const done: string[] = [];
        for (const number of choices) {
          const all = happenings(world);
          const [what = "", happen] = all[number % all.length] ?? [];
          done.push(what);
          const happening = happen?.();
          if (what.endsWith(" s")) await happening;
          await world.settle();
          expect(world.live, done.join("; ")).toBeLessThanOrEqual(concurrency);
        }
        await world.finish();
        for (const job of world.jobs) world.end(job, "COMPLETED");
        // Nobody looks again, and the service's calls are lost. Otherwise each end is seen once more.
        if (areTabsClosed) await world.wait(10_000);
        else await seeAllEnds(world);
        const statuses: number[] = [];
        for (let index = 0; index <= concurrency; index++) {
          const asking = world.ask("run", { input: { prompt } });
          await world.finish();
          statuses.push(await asking);
        }
        expect(statuses, done.join("; ")).toEqual([...Array.from({ length: concurrency }, () => 200), 429]);
      }),
      { numRuns: 100 },
    );
  });
});

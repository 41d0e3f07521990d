import fc from "fast-check";
import { expect, test } from "vitest";
import { clientOver } from "../../../src/client/layer-diffuse.ts";
import { isLayerDiffuseError } from "../../../src/errors/index.ts";
import { ManualClock, turns } from "../../helpers/manual-clock.ts";
import { makePng } from "../../helpers/png.ts";

const output = { status: "success", image_base64: makePng().toString("base64") };

/** How one request fares, whatever it asks. */
type Fate = "true" | "404" | "429" | "500" | "524" | "reset" | "refused" | "cut" | "html" | "empty" | "hang" | "late";

/** What the service does with the job, at which moment. */
interface Script {
  /** Milliseconds until a worker takes the job, and until it ends. */
  takenAfter: number;
  endsAfter: number;
  end: "COMPLETED" | "FAILED" | "TIMED_OUT" | "CANCELLED" | "never";
  /** The name of the running state. */
  running: string;
  holdsPolls: boolean;
  fates: Fate[];
  abortAt: number | undefined;
  throwsAt: number | undefined;
  isWatched: boolean;
  mode: "async" | "sync";
  queueTimeout: number;
  executionTimeout: number;
}

/** A service of one job, as a `fetch`: it keeps the job's true story, and spoils answers as the script says. */
class Service {
  submissions = 0;
  cancels = 0;
  /** Exchanges that are neither answered nor given up. */
  open = 0;
  isCancelled = false;
  readonly #clock: ManualClock;
  readonly #script: Script;
  #requests = 0;
  #submittedAt = 0;

  constructor(clock: ManualClock, script: Script) {
    this.#clock = clock;
    this.#script = script;
  }

  get status(): string {
    if (this.isCancelled) return "CANCELLED";
    const age = this.#clock.now() - this.#submittedAt;
    const { takenAfter, endsAfter, end, running } = this.#script;
    if (end !== "never" && age >= takenAfter + endsAfter) return end;
    return age >= takenAfter ? running : "IN_QUEUE";
  }

  readonly fetch: typeof fetch = async (input, init) => {
    this.open++;
    try {
      return await this.#answer(new URL(String(input)), init?.signal ?? new AbortController().signal);
    } finally {
      this.open--;
    }
  };

  async #answer(url: URL, signal: AbortSignal): Promise<Response> {
    const operation = url.pathname.split("/")[3] ?? "";
    const fate = this.#script.fates[this.#requests++] ?? "true";
    const isSubmission = operation === "run" || operation === "runsync";
    const fail = (code: string) => new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) });
    switch (fate) {
      case "refused":
        throw fail("ECONNREFUSED");
      case "429":
        return new Response("", { status: 429 });
      case "404":
        if (!isSubmission) return new Response(JSON.stringify({ error: "job not found" }), { status: 404 });
    }
    if (isSubmission) {
      this.submissions++;
      this.#submittedAt = this.#clock.now();
    }
    if (operation === "cancel") {
      this.cancels++;
      if (!/COMPLETED|FAILED|TIMED_OUT/.test(this.status)) this.isCancelled = true;
    }
    switch (fate) {
      case "hang":
        return await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      case "late":
        await this.#pause(7_000, signal);
        break;
      case "500":
      case "524":
        return new Response("<html>", { status: Number(fate) });
      case "reset":
        throw fail("ECONNRESET");
      case "html":
        return new Response("<html>");
      case "empty":
        return new Response(null, { status: 204 });
    }
    const wait = Number(url.searchParams.get("wait") ?? 0);
    if (wait > 0 && this.#script.holdsPolls) await this.#hold(wait, signal);
    const text = JSON.stringify(this.#body(operation));
    return new Response(fate === "cut" ? text.slice(0, text.length / 2) : text);
  }

  #body(operation: string): unknown {
    const { status } = this;
    if (operation === "health") return { jobs: {}, workers: { initializing: 1 } };
    const isDone = status === "COMPLETED";
    return {
      id: "job-1",
      status,
      ...(isDone ? { output } : status === "IN_QUEUE" ? {} : { output: { step: 1, steps: 2 } }),
    };
  }

  async #hold(wait: number, signal: AbortSignal): Promise<void> {
    const end = this.#clock.now() + wait;
    const isOver = () => this.#clock.now() >= end || /COMPLETED|FAILED|TIMED_OUT|CANCELLED/.test(this.status);
    while (!isOver()) await this.#pause(500, signal);
  }

  #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", () => {
        this.#clock.clearTimeout(timer);
        reject(signal.reason);
      });
    });
  }
}

const fate = fc.constantFrom<Fate>(
  ...([
    "true",
    "true",
    "true",
    "404",
    "429",
    "500",
    "524",
    "reset",
    "refused",
    "cut",
    "html",
    "empty",
    "hang",
    "late",
  ] as const),
);

const scripts: fc.Arbitrary<Script> = fc.record({
  takenAfter: fc.integer({ min: 0, max: 200_000 }),
  endsAfter: fc.integer({ min: 0, max: 200_000 }),
  end: fc.constantFrom("COMPLETED", "COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "never"),
  running: fc.constantFrom("IN_PROGRESS", "RUNNING", "WARMING"),
  holdsPolls: fc.boolean(),
  fates: fc.array(fate, { maxLength: 12 }),
  abortAt: fc.option(fc.integer({ min: 0, max: 300_000 }), { nil: undefined }),
  throwsAt: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
  isWatched: fc.boolean(),
  mode: fc.constantFrom("async", "sync"),
  queueTimeout: fc.integer({ min: 1_000, max: 300_000 }),
  executionTimeout: fc.integer({ min: 1_000, max: 300_000 }),
});

test("whatever the service does, generate settles once, submits once at most, cancels when it gives up, and leaves nothing behind", async () => {
  await fc.assert(
    fc.asyncProperty(scripts, async (script) => {
      const clock = new ManualClock();
      const service = new Service(clock, script);
      const client = clientOver(
        { endpointId: "e", apiKey: "secret-key", baseUrl: "http://service/v2", fetch: service.fetch },
        { clock, random: () => 0.5 },
      );
      const controller = new AbortController();
      const reason = { given: "up" };
      if (script.abortAt !== undefined) clock.setTimeout(() => controller.abort(reason), script.abortAt);
      const mistake = new Error("mistake");
      let calls = 0;
      let settlements = 0;
      let isLate = false;
      const onProgress = () => {
        if (settlements > 0) isLate = true;
        if (++calls === script.throwsAt) throw mistake;
      };
      const { mode, queueTimeout, executionTimeout, isWatched } = script;
      const { signal } = controller;
      let image: unknown;
      let error: unknown;
      const generating = client
        .generate("an apple", { signal, mode, queueTimeout, executionTimeout, ...(isWatched ? { onProgress } : {}) })
        .then(
          (value) => {
            settlements++;
            image = value;
          },
          (cause: unknown) => {
            settlements++;
            error = cause;
          },
        );
      await clock.drive(generating);
      const settledAt = clock.now();

      expect(settlements).toBe(1);
      // Every wait is bounded: both clocks, one request's time-out and its confirmation.
      expect(settledAt).toBeLessThanOrEqual(queueTimeout + executionTimeout + 130_000);
      if (image) expect(service.status).toBe("COMPLETED");
      else expect(isLayerDiffuseError(error) || error === reason || error === mistake).toBe(true);

      // What goes on in the background (a submission on its way, a cancel) ends by itself.
      for (let round = 0; round < 300; round++) {
        await turns(8);
        if (service.open === 0 && clock.pending === 0) break;
        clock.advance(1_000);
      }
      expect(service.submissions).toBeLessThanOrEqual(1);
      expect(isLate).toBe(false);
      expect(clock.pending).toBe(0);
      expect(service.open).toBe(0);

      const isGivenUp =
        error === reason ||
        error === mistake ||
        isLayerDiffuseError(error, "queue_timeout") ||
        isLayerDiffuseError(error, "execution_timeout");
      // The submission's own answer may have been lost, and with it the id to cancel by; so may the cancel's.
      if (isGivenUp && service.submissions === 1 && script.fates.every((each) => each === "true" || each === "late")) {
        expect(service.status).toMatch(/COMPLETED|FAILED|TIMED_OUT|CANCELLED/);
      }
      if (!isGivenUp) expect(service.cancels).toBe(0);
    }),
    { numRuns: Number(process.env["PROPERTY_RUNS"] ?? 400) },
  );
}, 60_000);

import type { ManyProgress } from "../../../../src/client/call-options.ts";
import { clientOver, type LayerDiffuse } from "../../../../src/client/layer-diffuse.ts";
import { Limiter } from "../../../../src/runpod/limiter.ts";
import type { Progress } from "../../../../src/runpod/progress.ts";
import { countedSignal } from "../../../helpers/counted-signal.ts";
import { ManualClock, turns } from "../../../helpers/manual-clock.ts";
import { RandomService, type ServiceScript } from "../../../helpers/random-service.ts";

/** One call by the user, with all that the user may do meanwhile. Times in milliseconds. */
export interface CallScript {
  method: "generate" | "generate sync" | "generateMany" | "submit" | "run";
  startsAt: number;
  /** From the call's start. */
  abortsAt: number | undefined;
  isWatched: boolean;
  /** The report at which `onProgress` throws. */
  throwsAt: number | undefined;
  cancelOnAbort: boolean;
  failEarly: boolean;
  queueTimeout: number;
  executionTimeout: number;
  /** Of `generateMany`. */
  items: number;
  atOnce: number;
  /** After how many results the loop is left. */
  leavesAfter: number | undefined;
}

export interface Story {
  service: ServiceScript;
  calls: readonly CallScript[];
  /** The computer sleeps: the clock steps, and timers fire late. */
  sleeps: readonly { at: number; lasts: number }[];
  isProxy: boolean;
  requestTimeout: number;
  retries: number;
  concurrency: number;
  /** Of the client's own chance. */
  chance: number;
}

/** One image, or one job, that was asked for. */
export interface Ticket {
  prompt: string;
  call: CallScript;
  startedAt: number;
  /** When the waiting began, where it is a call of its own. */
  waitedFrom: number;
  settledAt: number | undefined;
  /** How many exchanges had ended before, when nobody waited any more. */
  order: number;
  settlements: number;
  isResolved: boolean;
  value: unknown;
  error: unknown;
  /** Whether the submission was a call of its own that has ended. */
  isSubmitted: boolean;
  reports: { progress: Progress; at: number; isLate: boolean }[];
  /** What `onProgress` threw. */
  mistake: Error | undefined;
  /** When the caller gave it up, by its signal or by leaving the loop. */
  leftAt: number | undefined;
  /** Listeners on the caller's signal once the call has settled. */
  listeners: number;
}

/** What a signal aborts with in these stories. */
export const reason = new DOMException("The caller has gone.", "AbortError");

/** Longest that background work may go on after the last call: a cancel has ten minutes. */
const background = 1_200_000;
/** Far above what any story takes. */
const mostSteps = 60_000;

/** Plays a story to its end, and on until nothing happens any more. */
export class Play {
  readonly clock = new ManualClock();
  readonly tickets: Ticket[] = [];
  readonly service: RandomService;
  readonly story: Story;
  readonly limiter: Limiter;
  /** Rejected by the loop over many results. */
  readonly loopErrors: unknown[] = [];
  slept = 0;
  readonly #client: LayerDiffuse;
  readonly #timers = new Set<unknown>();
  #steps = 0;
  #exchanges = 0;
  #idleSince = 0;

  constructor(story: Story) {
    this.story = story;
    const { isProxy, requestTimeout, retries, concurrency } = story;
    this.service = new RandomService(this.clock, story.service, requestTimeout);
    this.limiter = new Limiter(concurrency);
    const target = isProxy
      ? { proxyUrl: "https://proxy.test/api/layerdiffuse" }
      : { endpointId: "e1", apiKey: "rpa_7F3AQ0KLM", baseUrl: "https://service.test/v2" };
    let state = story.chance;
    const random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
    const { fetch } = this.service;
    const options = { ...target, fetch, requestTimeout, retries, concurrency };
    this.#client = clientOver(options, { clock: this.clock, random }, this.limiter);
  }

  async run(): Promise<void> {
    const { clock, story } = this;
    for (const { at, lasts } of story.sleeps) {
      this.#at(at, () => {
        // The computer sleeps: time passes, and no timer rings meanwhile.
        clock.skip(lasts);
        this.slept += lasts;
      });
    }
    const calls = story.calls.map(
      (call, index) => new Promise<void>((resolve) => this.#at(call.startsAt, () => resolve(this.#call(call, index)))),
    );
    await clock.drive(Promise.all(calls), () => this.#isBusy());
    for (const timer of this.#timers) clock.clearTimeout(timer);
    await turns(4);
    if (clock.pending > 0 || this.service.open > 0) await clock.pass(background);
  }

  /** How many requests get through at once, when all is over. */
  async requestsAtOnce(): Promise<number> {
    let open = () => {};
    this.service.gate = new Promise((resolve) => {
      open = resolve;
    });
    const count = this.story.concurrency;
    const all = Array.from({ length: count }, () => this.#client.health().catch(() => {}));
    await turns(4);
    const atOnce = this.service.open;
    open();
    await this.clock.drive(Promise.all(all));
    return atOnce;
  }

  #at(time: number, happen: () => void): unknown {
    const timer = this.clock.setTimeout(happen, time);
    this.#timers.add(timer);
    return timer;
  }

  /** Images are decoded on other threads: whoever has just got an answer may be about to act on it. */
  #isBusy(): boolean {
    if (++this.#steps > mostSteps) throw new Error("It goes on and on.");
    const settled = this.tickets.filter(({ settledAt }) => settledAt !== undefined).length;
    const happened = this.service.exchanges.length + settled * 1_000_000;
    const last = this.service.exchanges.at(-1);
    const isDecoding =
      last?.outcome === "answered" && (last.operation === "image" || last.state?.status === "COMPLETED");
    if (happened !== this.#exchanges || !isDecoding) {
      this.#exchanges = happened;
      this.#idleSince = performance.now();
    }
    const patience = this.clock.pending > 0 ? 50 : 5_000;
    return isDecoding && performance.now() - this.#idleSince < patience;
  }

  async #call(call: CallScript, index: number): Promise<void> {
    const left = new AbortController();
    const { signal, listeners } = countedSignal(left);
    const tickets: Ticket[] = [];
    const timer =
      call.abortsAt === undefined
        ? undefined
        : this.#at(call.abortsAt, () => {
            for (const ticket of tickets) this.#leave(ticket);
            left.abort(reason);
          });
    const ticketOf = (item: number) => {
      const ticket = this.#ticket(call, `${index}.${item}`);
      tickets.push(ticket);
      return ticket;
    };
    if (call.method === "generateMany") await this.#generateMany(call, signal, ticketOf);
    else {
      const ticket = ticketOf(0);
      await this.#one(ticket, signal);
      ticket.listeners = listeners();
    }
    this.clock.clearTimeout(timer);
  }

  #ticket(call: CallScript, prompt: string): Ticket {
    const now = this.clock.now();
    const ticket: Ticket = {
      prompt,
      call,
      startedAt: now,
      waitedFrom: now,
      settledAt: undefined,
      order: 0,
      settlements: 0,
      isResolved: false,
      value: undefined,
      error: undefined,
      isSubmitted: false,
      reports: [],
      mistake: undefined,
      leftAt: undefined,
      listeners: 0,
    };
    this.tickets.push(ticket);
    return ticket;
  }

  async #one(ticket: Ticket, signal: AbortSignal): Promise<void> {
    const { method, cancelOnAbort, failEarly, queueTimeout, executionTimeout, isWatched } = ticket.call;
    const clocks = { queueTimeout, executionTimeout };
    const onProgress = (progress: Progress) => this.#report(ticket, progress);
    const waiting = { ...clocks, signal, cancelOnAbort, failEarly, ...(isWatched && { onProgress }) };
    const begin = async (): Promise<unknown> => {
      if (method === "submit") {
        const job = await this.#client.submit(ticket.prompt, { ...clocks, signal, cancelOnAbort });
        this.#submitted(ticket);
        return await job.result(waiting);
      }
      if (method === "run") {
        const { endpoint } = this.#client;
        const { id } = await endpoint.run({ prompt: ticket.prompt }, { signal, cancelOnAbort });
        this.#submitted(ticket);
        return (await endpoint.wait(id, waiting)).output;
      }
      return await this.#client.generate(ticket.prompt, {
        ...waiting,
        mode: method === "generate" ? "async" : "sync",
      });
    };
    await begin().then(
      (value) => this.#settle(ticket, { value }),
      (error: unknown) => this.#settle(ticket, { error }),
    );
  }

  #submitted(ticket: Ticket): void {
    ticket.isSubmitted = true;
    ticket.waitedFrom = this.clock.now();
  }

  #report(ticket: Ticket, progress: Progress): void {
    const { call, reports } = ticket;
    reports.push({ progress, at: this.clock.now(), isLate: ticket.settledAt !== undefined });
    if (reports.length !== call.throwsAt) return;
    ticket.mistake = new Error("onProgress has a mistake");
    throw ticket.mistake;
  }

  #leave(ticket: Ticket): void {
    if (ticket.settlements > 0 || ticket.leftAt !== undefined) return;
    ticket.leftAt = this.clock.now();
    ticket.order = this.service.ended;
  }

  #settle(ticket: Ticket, end: { value: unknown } | { error: unknown }): void {
    ticket.settlements++;
    ticket.settledAt = this.clock.now();
    ticket.order = this.service.ended;
    ticket.isResolved = "value" in end;
    Object.assign(ticket, end);
  }

  async #generateMany(call: CallScript, signal: AbortSignal, ticketOf: (item: number) => Ticket): Promise<void> {
    const { items, atOnce, leavesAfter, isWatched, cancelOnAbort, failEarly, queueTimeout, executionTimeout } = call;
    const tickets: Ticket[] = [];
    const onProgress = ({ index, item: _, ...progress }: ManyProgress<number>) => {
      const ticket = tickets[index];
      if (ticket) this.#report(ticket, progress);
    };
    const toInput = (item: number) => {
      const ticket = ticketOf(item);
      tickets[item] = ticket;
      return ticket.prompt;
    };
    const watch = isWatched ? { onProgress } : {};
    const clocks = { queueTimeout, executionTimeout };
    const options = { toInput, signal, concurrency: atOnce, cancelOnAbort, failEarly, ...clocks, ...watch };
    const results = this.#client.generateMany([...Array(items).keys()], options);
    let count = 0;
    try {
      for await (const { index, image, error } of results) {
        const ticket = tickets[index];
        if (ticket) this.#settle(ticket, image ? { value: image } : { error });
        if (++count === leavesAfter) break;
      }
    } catch (error) {
      this.loopErrors.push(error);
    }
    for (const ticket of tickets) this.#leave(ticket);
  }
}

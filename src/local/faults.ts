import { validateHeaderName, validateHeaderValue } from "node:http";
import * as z from "zod/mini";
import { isOperation, type Operation, operations } from "../protocol/operations.ts";
import { check, defined, issueText } from "../schema/check.ts";
import { suggestion } from "../schema/did-you-mean.ts";
import { byKind, callback, list, number, oneOf, shown, strict } from "../schema/fields.ts";
import { type Answer, type Call, jsonAnswer, resetAnswer } from "./http/exchange.ts";
import type { HeldRequests } from "./http/held-requests.ts";
import { isWorkerOperation, type WorkerOperation, workerOperations } from "./http/router.ts";
import { countFrom, duration, textsOf } from "./option-fields.ts";

/** What goes wrong. Each fault has exactly one of these. */
export type FaultEffect =
  /** This answer replaces the real one. A `body` object is sent as JSON, text as HTML if it begins with `<`, else as plain text. */
  | { respond: { status: number; headers?: Record<string, string>; body?: string | object } }
  /** The connection breaks without an answer: `fetch` rejects with a `TypeError`. */
  | { reset: true }
  /** The headers and half of the body arrive, then the connection breaks. With `when: "before"` the body is an error. */
  | { cut: true }
  /** The real answer comes so many milliseconds late. */
  | { delay: number }
  /** No answer comes. It ends when the caller leaves or the endpoint closes. */
  | { hang: true }
  /**
   * Changes the real answer. The function gets its JSON, or its text where it is not JSON. Text that it returns is sent
   * as it is, anything else as JSON.
   */
  | { edit: (body: unknown) => unknown };

/** A fault to inject into the requests that it is for. */
export type Fault = FaultEffect & {
  /** The operations it is for, which may be those of workers. Default: every request of a client, even unknown ones. */
  operation?: Operation | WorkerOperation | (Operation | WorkerOperation)[];
  /** How many of these requests pass unharmed first. Default 0. */
  skip?: number;
  /** How many requests it affects. Default 1; `Infinity` for all. */
  times?: number;
  /**
   * `"before"` (default): the operation is not carried out. `"after"`: it is, but the caller does not get its answer, so
   * that a job may exist that the caller does not know. With `delay` it says whether the operation is carried out before
   * or after the delay. With `edit` the operation is always carried out.
   */
  when?: "before" | "after";
};

const operationNames: readonly string[] = [...Object.keys(operations), ...Object.keys(workerOperations)];

const operation = z.custom<Operation | WorkerOperation>((name) => isOperation(name) || isWorkerOperation(name), {
  error: ({ input }) => `has no ${shown(input)}; ${suggestion(String(input), operationNames)}`,
});

const headers = textsOf(z.string({ error: "must be text" })).check(
  z.check<Record<string, string>>(({ value, issues }) => {
    // Whoever sets the header is told, not whoever gets the answer.
    for (const [name, text] of Object.entries(value)) {
      if (typeof text !== "string" || canBeSent(name, text)) continue;
      issues.push({ code: "custom", path: [name], message: "cannot be sent as a header", input: value });
    }
  }),
);

const body = z.custom<string | object>(
  (value) => typeof value === "string" || (typeof value === "object" && value !== null),
  { error: "must be text or an object" },
);

const effects = {
  respond: z.optional(strict({ status: number(200, 599, 1), headers: z.optional(headers), body: z.optional(body) })),
  reset: z.optional(oneOf([true])),
  cut: z.optional(oneOf([true])),
  delay: z.optional(duration()),
  hang: z.optional(oneOf([true])),
  edit: z.optional(callback<(body: unknown) => unknown>()),
};

const faultFields = strict({
  ...effects,
  operation: z.optional(byKind((value) => (Array.isArray(value) ? list(operation) : operation))),
  skip: z.optional(countFrom(0)),
  times: z.optional(countFrom(1)),
  when: z.optional(oneOf(["before", "after"])),
});

const oneEffect = z.check<z.output<typeof faultFields>>(({ value, issues }) => {
  const names = Object.entries(value).flatMap(([name, item]) => (name in effects && item !== undefined ? [name] : []));
  if (names.length === 1) return;
  const message = `must have exactly one of ${Object.keys(effects).join(", ")}, got ${names.join(", ") || "none"}`;
  issues.push({ code: "custom", path: [], message, input: value });
});

export const faultSchema = z.pipe(faultFields.check(oneEffect), z.transform(toFault));

function toFault({ respond, reset, cut, delay, edit, hang: _, ...where }: z.output<typeof faultFields>): Fault {
  const rest = defined(where);
  if (respond !== undefined) return { respond: { status: respond.status, ...defined(respond) }, ...rest };
  if (reset) return { reset, ...rest };
  if (cut) return { cut, ...rest };
  if (delay !== undefined) return { delay, ...rest };
  return edit === undefined ? { hang: true, ...rest } : { edit, ...rest };
}

/**
 * Checks a fault that may come from anywhere.
 *
 * @throws TypeError that names everything that is wrong with it
 */
export function readFault(given: unknown): Fault {
  const { issues, value } = check(faultSchema, given);
  if (issues)
    throw new TypeError(issues.map((issue) => issueText({ ...issue, path: ["fault", ...issue.path] })).join("; "));
  return value;
}

/** A fault with what is left of its counts. */
export interface ActiveFault {
  readonly fault: Fault;
  skip: number;
  times: number;
}

function activated(fault: Fault): ActiveFault {
  return { fault, skip: fault.skip ?? 0, times: fault.times ?? 1 };
}

/** The faults to inject. A request gets the first one that is for it and that has nothing left to skip. */
export class Faults {
  #active: ActiveFault[];

  /** @param checked those of the options, which have been checked */
  constructor(checked: readonly Fault[] = []) {
    this.#active = checked.map(activated);
  }

  /**
   * Checks faults that may come from anywhere, and adds them after those already there.
   *
   * @throws TypeError that names everything that is wrong with the first wrong one. None is added then.
   */
  add(...given: unknown[]): void {
    this.#active.push(...given.map(readFault).map(activated));
  }

  clear(): void {
    this.#active = [];
  }

  get active(): readonly ActiveFault[] {
    return this.#active;
  }

  /** The fault for a request, which counts from then on. */
  next(operation: Operation | WorkerOperation | undefined): Fault | undefined {
    for (const active of this.#active) {
      if (!fits(active.fault, operation)) continue;
      if (active.skip > 0) {
        active.skip--;
        continue;
      }
      active.times--;
      if (active.times === 0) this.#active = this.#active.filter((other) => other !== active);
      return active.fault;
    }
    return undefined;
  }
}

/** The answer to a request with a fault. `perform` carries out the operation and returns the real answer. */
export async function injectFault(
  fault: Fault,
  call: Call,
  heldRequests: HeldRequests,
  perform: () => Promise<Answer>,
): Promise<Answer> {
  const truth = fault.when === "after" || "edit" in fault ? await perform() : undefined;
  if ("respond" in fault) return givenAnswer(fault.respond);
  if ("edit" in fault) return truth === undefined ? resetAnswer : editedAnswer(truth, fault.edit);
  if ("cut" in fault)
    return { ...(truth ?? jsonAnswer(200, '{"error":"the operation had no effect"}')), broken: "cut" };
  if ("delay" in fault) {
    const wake = await heldRequests.hold({ milliseconds: fault.delay, signal: call.signal });
    if (wake === "time") return truth ?? perform();
    truth?.undelivered?.();
    return resetAnswer;
  }
  if ("hang" in fault) await heldRequests.hold({ signal: call.signal });
  return resetAnswer;
}

function fits({ operation }: Fault, actual: Operation | WorkerOperation | undefined): boolean {
  if (operation === undefined) return !isWorkerOperation(actual);
  if (actual === undefined) return false;
  return Array.isArray(operation) ? operation.includes(actual) : operation === actual;
}

function givenAnswer({ status, headers, body = "" }: Extract<FaultEffect, { respond: unknown }>["respond"]): Answer {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const type = typeof body === "string" ? (body.startsWith("<") ? "text/html" : "text/plain") : "application/json";
  const given: Record<string, string> = text === "" ? {} : { "content-type": type };
  for (const [name, value] of Object.entries(headers ?? {})) given[name.toLowerCase()] = value;
  return { status, headers: given, body: text };
}

function editedAnswer(truth: Answer, edit: (body: unknown) => unknown): Answer {
  const isJson = truth.headers["content-type"] === "application/json";
  const text = truth.body.toString();
  const changed = edit(isJson ? JSON.parse(text) : text);
  return { ...truth, body: typeof changed === "string" ? changed : (JSON.stringify(changed) ?? "") };
}

function canBeSent(name: string, text: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, text);
    return true;
  } catch {
    // Node has no other way to ask.
    return false;
  }
}

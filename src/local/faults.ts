import { validateHeaderName, validateHeaderValue } from "node:http";
import { type Operation, operations } from "../protocol/operations.ts";
import { type Check, count, duration, fields, func, isRecord, nearest, oneOf } from "./checks.ts";
import { type Answer, type Call, jsonAnswer, resetAnswer } from "./http/exchange.ts";
import type { HeldRequests } from "./http/held-requests.ts";
import { isWorkerOperation, type WorkerOperation, workerOperations } from "./http/routes.ts";

/** What goes wrong. Exactly one of these is in each fault. */
export type FaultEffect =
  /** This answer instead of the true one. A `body` object is sent as JSON, text as HTML if it begins with `<`, else as plain text. */
  | { respond: { status: number; headers?: Record<string, string>; body?: string | object } }
  /** The connection is destroyed without an answer; `fetch` rejects with a `TypeError`. */
  | { reset: true }
  /** The headers and half of the body, then the connection is destroyed; with `when: "before"` it is half of an error. */
  | { cut: true }
  /** Milliseconds of the clock, then the true answer. */
  | { delay: number }
  /** Never an answer; ends when the caller leaves or the endpoint closes. */
  | { hang: true }
  /** The true answer's JSON (its text, where it is not JSON), changed: what the function returns is sent, text as it is, anything else as JSON. */
  | { edit: (body: unknown) => unknown };

/** A trouble to come, for the requests it fits. */
export type Fault = FaultEffect & {
  /** The operations it is for, workers' among them. Default: any request of a client, known or not. */
  operation?: Operation | WorkerOperation | (Operation | WorkerOperation)[];
  /** Fitting requests it lets through first. Default 0. */
  skip?: number;
  /** Requests it spoils, then it is used up. Default 1; `Infinity` for all. */
  times?: number;
  /**
   * `"before"` (default): the operation has no effect. `"after"`: it takes effect, but the answer is
   * spoilt, so that a job exists of which the caller knows nothing. With `delay`, when the operation
   * takes effect; `edit` always lets it.
   */
  when?: "before" | "after";
};

const effects = {
  respond: fields({ status: statusCode, headers: headerRecord, body: textOrObject }),
  reset: oneOf([true]),
  cut: oneOf([true]),
  delay: duration(),
  hang: oneOf([true]),
  edit: func,
} satisfies Record<string, Check>;

const checkFault = fields({
  ...effects,
  operation: checkOperation,
  skip: count(),
  times: count(1),
  when: oneOf(["before", "after"]),
});

/** A fault that is not used up, with what is left of its counts. */
export interface ActiveFault {
  readonly fault: Fault;
  skip: number;
  times: number;
}

/** The script of troubles: each request is spoilt by the first fault that fits it and is not letting it through. */
export class Faults {
  #active: ActiveFault[] = [];

  /**
   * Adds faults behind those already there.
   *
   * @throws TypeError or RangeError for a fault that is not one.
   */
  add(...faults: Fault[]): void {
    for (const fault of faults) checkEffect(fault);
    this.#active.push(...faults.map((fault) => ({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1 })));
  }

  clear(): void {
    this.#active = [];
  }

  get active(): readonly ActiveFault[] {
    return this.#active;
  }

  /** The fault for a request; counts the request. */
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

/** What a spoilt request is answered. `perform` does the operation and gives the true answer. */
export async function spoil(
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

function checkEffect(fault: unknown): void {
  checkFault(fault, "fault");
  if (!isRecord(fault)) return;
  const names = Object.keys(effects).filter((name) => fault[name] !== undefined);
  if (names.length !== 1) {
    throw new TypeError(
      `fault must have exactly one of ${Object.keys(effects).join(", ")}, got ${names.join(", ") || "none"}`,
    );
  }
}

function checkOperation(value: unknown, name: string): void {
  for (const operation of Array.isArray(value) ? value : [value]) {
    if (typeof operation === "string" && Object.hasOwn(operations, operation)) continue;
    if (isWorkerOperation(operation)) continue;
    const near = nearest(String(operation), [...Object.keys(operations), ...Object.keys(workerOperations)]);
    throw new RangeError(`${name} has no "${String(operation)}"; did you mean "${near}"?`);
  }
}

function statusCode(value: unknown, name: string): void {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 200 || value > 599) {
    throw new RangeError(`${name} must be a whole number from 200 to 599, got ${String(value)}`);
  }
}

function headerRecord(value: unknown, name: string): void {
  if (!isRecord(value)) throw new TypeError(`${name} must be an object of texts`);
  for (const [header, text] of Object.entries(value)) {
    if (typeof text !== "string") throw new TypeError(`${name} must be an object of texts`);
    // The one who sets it is told, not whoever it is sent to.
    validateHeaderName(header);
    validateHeaderValue(header, text);
  }
}

function textOrObject(value: unknown, name: string): void {
  if (typeof value === "string" || (typeof value === "object" && value !== null)) return;
  throw new TypeError(`${name} must be text or an object`);
}

import { isTerminal } from "../../src/protocol/job.ts";
import { makePng } from "./png.ts";

/* The true story of a job on RunPod's queue, which a service may tell well or badly. */

const pixels = Uint8Array.from({ length: 40 * (1 + 40 * 4) }, (_, index) =>
  index % 161 === 0 ? 0 : (index * 7919) % 251,
);

/** What a person can open. Its base64 has every character that alphabets differ in, and padding. */
export const png = makePng({ width: 40, height: 40, pixels, level: 3 });
const largePng = makePng({ width: 160, height: 160, pixels: Uint8Array.from({ length: 160 * 641 }, noise), level: 0 });
const base64 = png.toString("base64");
const half = png.subarray(0, png.length / 2).toString("base64");

function noise(_: unknown, index: number): number {
  return index % 641 === 0 ? 0 : (index * 31_337 + (index >> 5)) % 256;
}

/** Where the model keeps the images that a worker answers with a link to. */
export const imageHost = "https://images.test";

/** What a worker may answer, and the image in it that a person could open. */
export const outputs = {
  base64: [{ image_base64: base64 }, png],
  published: [{ status: "success", image_base64: base64, url: `data:image/png;base64,${base64}`, info: "{}" }, png],
  large: [{ image_base64: largePng.toString("base64"), filename: "a.png" }, largePng],
  "line breaks": [{ image_base64: base64.replace(/.{76}/g, "$&\n") }, png],
  "URL alphabet": [{ image_base64: png.toString("base64url") }, png],
  "no padding": [{ image_base64: base64.replace(/=+$/, "") }, png],
  "data URL": [{ url: `DATA:image/png;base64,${base64}` }, png],
  "bytes at the end": [{ image_base64: Buffer.concat([png, Buffer.alloc(9)]).toString("base64") }, png],
  link: [{}, png],
  "dead link": [{ url: `${imageHost}/gone` }, undefined],
  none: [undefined, undefined],
  "an error": [{ status: "error", message: "CUDA out of memory" }, undefined],
  "error alone": [{ error: "boom" }, undefined],
  "half an image": [{ image_base64: half }, undefined],
  "no image": [{ image_base64: "%%%" }, undefined],
} as const satisfies Record<string, readonly [output: unknown, image: Uint8Array<ArrayBuffer> | undefined]>;

export type OutputKind = keyof typeof outputs;
export const outputKinds = Object.keys(outputs).filter((kind): kind is OutputKind => kind in outputs);

export interface JobScript {
  /** Milliseconds in the queue and on a worker, by turns: after the first two, its worker was lost and it was queued again. */
  stages: readonly (readonly [queued: number, running: number])[];
  /** The name of the running state. */
  running: string;
  end: "COMPLETED" | "FAILED" | "TIMED_OUT" | "CANCELLED" | "never";
  output: OutputKind;
  /** Milliseconds for which the end is kept. */
  retention: number;
}

/** What an answer says of a job. `attempt`: how often its worker was lost before. */
export interface ToldState {
  id: string;
  status: string;
  attempt: number;
}

export function toldBy({ id, status, retries }: Record<string, unknown>): ToldState {
  return { id: String(id), status: String(status), attempt: Number(retries ?? 0) };
}

/** One job, whose state depends on the time alone, but for a cancellation. */
export class ModelJob {
  readonly id: string;
  readonly submittedAt: number;
  readonly #script: JobScript;
  /** The service deletes it at its `ttl`. */
  readonly #deletedAt: number;
  #cancelledAt = Number.POSITIVE_INFINITY;
  /** Who is held until it ends. */
  readonly waiting = new Set<() => void>();

  constructor(id: string, script: JobScript, submittedAt: number, ttl: number) {
    this.id = id;
    this.#script = script;
    this.submittedAt = submittedAt;
    this.#deletedAt = submittedAt + ttl;
  }

  get output(): unknown {
    return this.isLinked ? { url: `${imageHost}/${this.id}?signature=s` } : outputs[this.#script.output][0];
  }

  /** The image that a person could open, once the job has completed. */
  get image(): Uint8Array<ArrayBuffer> | undefined {
    return this.#script.end === "COMPLETED" ? outputs[this.#script.output][1] : undefined;
  }

  get isLinked(): boolean {
    return this.#script.output === "link";
  }

  /** When it ends by itself, or by the cancellation. */
  get endsAt(): number {
    const { stages, end } = this.#script;
    const length = stages.reduce((sum, [queued, running]) => sum + queued + running, 0);
    const ownEnd = end === "never" ? Number.POSITIVE_INFINITY : this.submittedAt + length;
    return Math.min(ownEnd, this.#cancelledAt);
  }

  /** When a worker took it for the first time, were it left alone. */
  get firstTakenAt(): number {
    return this.submittedAt + (this.#script.stages[0]?.[0] ?? 0);
  }

  cancel(now: number): void {
    if (now >= this.endsAt) return;
    this.#cancelledAt = now;
    for (const wake of this.waiting) wake();
  }

  isGone(now: number): boolean {
    return now >= this.#deletedAt || now >= this.endsAt + this.#script.retention;
  }

  status(now: number): string {
    if (now >= this.#cancelledAt) return "CANCELLED";
    if (now >= this.endsAt) return this.#script.end;
    return this.#stage(now).status;
  }

  /** As `/status` tells it. */
  body(now: number): Record<string, unknown> {
    const { id } = this;
    const status = this.status(now);
    const { delayTime, retries, running } = this.#stage(now);
    const known = { id, status, ...(retries > 0 && { retries }) };
    if (status === "IN_QUEUE" || status === "CANCELLED") return known;
    const taken = { ...known, delayTime, workerId: `w${retries}` };
    if (status === "COMPLETED") return { ...taken, executionTime: running, output: this.output };
    if (!isTerminal(status)) return running % 3 === 0 ? { ...taken, output: { step: 1, steps: 2 } } : taken;
    const error = running % 2 === 0 ? "RuntimeError: no" : "job timed out after 1 retries";
    return { ...taken, executionTime: running, error };
  }

  #stage(now: number) {
    let age = now - this.submittedAt;
    let delayTime = 0;
    let retries = 0;
    const last = this.#script.stages.length - 1;
    for (const [index, [queued, running]] of this.#script.stages.entries()) {
      retries = index;
      delayTime += queued;
      if (age < queued) return { status: "IN_QUEUE", delayTime, retries, running: 0 };
      age -= queued;
      if (age < running || index === last) {
        return { status: this.#script.running, delayTime, retries, running: Math.min(age, running) };
      }
      age -= running;
      delayTime += running;
    }
    return { status: "IN_QUEUE", delayTime, retries, running: 0 };
  }
}

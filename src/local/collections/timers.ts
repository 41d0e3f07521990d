import type { Clock } from "../../runtime/clock.ts";

/** Something to be done at a moment; the handle to take it back. */
export interface Appointment {
  readonly at: number;
  /** Order among appointments for the same moment. */
  readonly order: number;
  readonly run: () => void;
  /** Place in the heap, or -1 once it has run or was cancelled. */
  place: number;
}

/**
 * Everything that waits for a moment, on one timer: a binary heap whose entries know their place, so
 * that adding and cancelling cost O(log n) however many jobs are kept.
 */
export class Agenda {
  readonly #clock: Clock;
  readonly #background: boolean;
  readonly #heap: Appointment[] = [];
  #order = 0;
  #closed = false;
  #timer: unknown;
  #armedFor = Number.POSITIVE_INFINITY;

  /** @param background Whether its timer lets the process end, where the clock's timers can. */
  constructor(clock: Clock, background = false) {
    this.#clock = clock;
    this.#background = background;
  }

  add(milliseconds: number, run: () => void): Appointment {
    const appointment: Appointment = { at: this.#clock.now() + milliseconds, order: this.#order++, run, place: -1 };
    if (this.#closed) return appointment;
    this.#heap.push(appointment);
    this.#rise(appointment, this.#heap.length - 1);
    this.#arm();
    return appointment;
  }

  /** Takes an appointment back; nothing happens if it has run already. */
  cancel(appointment: Appointment | undefined): void {
    if (appointment === undefined || appointment.place < 0) return;
    this.#remove(appointment);
    if (this.#heap.length === 0) this.#disarm();
  }

  /** Drops all appointments; those added later never run. */
  close(): void {
    this.#closed = true;
    for (const appointment of this.#heap) appointment.place = -1;
    this.#heap.length = 0;
    this.#disarm();
  }

  #arm(): void {
    const first = this.#heap[0];
    // A timer that fires too early only arms the next one; replacing it on each change would cost more.
    if (first === undefined || first.at >= this.#armedFor) return;
    this.#disarm();
    this.#armedFor = first.at;
    // Node cuts fractions off a delay and would fire before the moment.
    const delay = Math.max(0, Math.ceil(first.at - this.#clock.now()));
    this.#timer = this.#clock.setTimeout(() => this.#fire(), delay);
    if (this.#background && isNodeTimer(this.#timer)) this.#timer.unref();
  }

  #disarm(): void {
    if (this.#armedFor === Number.POSITIVE_INFINITY) return;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #fire(): void {
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    try {
      for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
        this.#remove(first);
        first.run();
      }
    } finally {
      this.#arm();
    }
  }

  #remove(appointment: Appointment): void {
    const { place } = appointment;
    appointment.place = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === appointment) return;
    this.#rise(last, place);
    this.#sink(last, last.place);
  }

  #rise(appointment: Appointment, from: number): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#heap[above];
      if (parent === undefined || !isBefore(appointment, parent)) break;
      this.#set(parent, place);
      place = above;
    }
    this.#set(appointment, place);
  }

  #sink(appointment: Appointment, from: number): void {
    let place = from;
    for (;;) {
      const left = this.#heap[2 * place + 1];
      const right = this.#heap[2 * place + 2];
      if (left === undefined) break;
      const child = right !== undefined && isBefore(right, left) ? right : left;
      if (!isBefore(child, appointment)) break;
      const below = child.place;
      this.#set(child, place);
      place = below;
    }
    this.#set(appointment, place);
  }

  #set(appointment: Appointment, place: number): void {
    this.#heap[place] = appointment;
    appointment.place = place;
  }
}

function isBefore(one: Appointment, other: Appointment): boolean {
  return one.at === other.at ? one.order < other.order : one.at < other.at;
}

function isNodeTimer(timer: unknown): timer is { unref(): void } {
  return typeof timer === "object" && timer !== null && "unref" in timer && typeof timer.unref === "function";
}

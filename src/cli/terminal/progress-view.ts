import type { Phase, Progress } from "../../runpod/progress.ts";
import { bar, duration } from "./format.ts";
import { canBeLive, LiveLine } from "./live-line.ts";
import type { Session } from "./session.ts";

const phaseWords: Record<Phase, string> = {
  submitting: "submitting",
  waiting: "waiting: the service is busy or can't be reached",
  queued: "queued",
  starting: "starting: a worker is starting up",
  throttled: "throttled: no GPU is free yet",
  running: "running",
  decoding: "decoding",
  done: "done",
};

/**
 * Where a job stands, in one line: phase, elapsed time, steps, queue and workers.
 *
 * @param elapsed milliseconds since the beginning; `progress` may be older
 */
export function progressWords(progress: Progress, elapsed: number, { withBar = false } = {}): string {
  const { phase, step, steps, queue, workers, retries, retryAfter } = progress;
  const again = retryAfter === undefined ? "" : `; asking again ${soon(progress.elapsed + retryAfter - elapsed)}`;
  const parts = [phaseWords[phase] + again, duration(elapsed)];
  if (step !== undefined) parts.push(steps ? `step ${step} of ${steps}` : `step ${step}`);
  if (withBar && step !== undefined && steps) parts.push(bar(step / steps));
  if (queue !== undefined) parts.push(`${queue} in the queue`);
  if (workers) {
    // Not `ready`, which counts the idle ones again.
    const { running, initializing, throttled, unhealthy, idle } = workers;
    const present = Object.entries({ running, initializing, throttled, unhealthy, idle }).filter(
      ([, count]) => count > 0,
    );
    parts.push(`workers: ${present.map(([state, count]) => `${count} ${state}`).join(", ") || "none"}`);
  }
  if (retries !== undefined) parts.push(`its worker was lost, attempt ${retries + 1}`);
  return parts.join(" · ");
}

/** `in 12 s`: whole seconds, of which a countdown shows each. */
function soon(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1000);
  if (seconds <= 0) return "now";
  return `in ${seconds < 60 ? `${seconds} s` : duration(seconds * 1000)}`;
}

/** Milliseconds between two lines about steps: they come once a second, and a log needs them less often. */
const betweenStepLines = 5_000;

/** Shows how a job goes: one live line on a terminal, plain lines elsewhere, nothing when quiet. */
export class JobProgress {
  readonly #session: Session;
  readonly #startedAt = performance.now();
  #live: LiveLine | undefined;
  #last: Progress = { phase: "submitting", elapsed: 0 };
  #printedAt = Number.NEGATIVE_INFINITY;
  #hasNamedJob = false;

  constructor(session: Session) {
    this.#session = session;
    if (canBeLive(session)) {
      const words = () => progressWords(this.#last, performance.now() - this.#startedAt, { withBar: true });
      this.#live = new LiveLine(session.io, words);
    }
  }

  /** For the client's `onProgress`. */
  readonly update = (progress: Progress): void => {
    const before = this.#last;
    this.#last = progress;
    if (this.#live || progress.phase === "done") return;
    // While a job runs, only its steps change; before that every change matters.
    const isStep = before.phase === "running" && progress.phase === "running" && before.retries === progress.retries;
    if (isStep && progress.elapsed - this.#printedAt < betweenStepLines) return;
    this.#printedAt = progress.elapsed;
    const id = progress.jobId !== undefined && !this.#hasNamedJob ? ` · job ${progress.jobId}` : "";
    if (id) this.#hasNamedJob = true;
    void this.#session.note(progressWords(progress, progress.elapsed) + id);
  };

  /** Milliseconds since the beginning. */
  get elapsed(): number {
    return performance.now() - this.#startedAt;
  }

  /** Takes the live line away. */
  stop(): void {
    this.#live?.stop();
    this.#live = undefined;
  }
}

/** What decides how many workers an endpoint has. Times are milliseconds. */
export interface ScalingRules {
  readonly maxWorkers: number;
  readonly minWorkers: number;
  /** How long a job must have waited before a worker is started for it. */
  readonly queueDelay: number;
}

/** The workers there are. */
export interface Supply {
  /** Those that the pool started, in whatever state. */
  readonly started: number;
  /** Those of them that have yet to take their first job. */
  readonly starting: number;
  /** Those of them that have just finished a job and will ask for the next. */
  readonly returning: number;
}

export interface ScalingDecision {
  /** How many workers to start now. */
  readonly starts: number;
  /** After how many milliseconds to decide again, whatever happens until then. */
  readonly again: number | undefined;
}

/** The worker library of RunPod sleeps up to 1 s between a job's end and its next request for one. */
export const returnTime = 1_500;

/**
 * How many workers the waiting jobs need.
 *
 * @param waiting the jobs that may have workers started for them, the oldest first
 */
export function decideScaling(
  waiting: Iterable<{ readonly queuedAt: number }>,
  { started, starting, returning }: Supply,
  { maxWorkers, minWorkers, queueDelay }: ScalingRules,
  now: number,
): ScalingDecision {
  let starts = Math.max(0, Math.min(minWorkers, maxWorkers) - started);
  let wanted = 0;
  for (const { queuedAt } of waiting) {
    if (started + starts >= maxWorkers) return { starts, again: undefined };
    const left = queuedAt + queueDelay - now;
    if (left > 0) return { starts, again: left };
    wanted++;
    if (wanted > starting + starts + returning) starts++;
  }
  // A worker that returns is waited for: another one started now would come too late. But it may not return.
  return { starts, again: wanted > 0 && returning > 0 ? returnTime : undefined };
}

import type { GenerateInput } from "layerdiffuse";

/** A job that runs whether the page is there or not: what was asked for and the way back to it, which is no key. */
export interface KeptJob {
  readonly jobId: string;
  readonly input: GenerateInput;
}

const place = "layerdiffuse-jobs";

/** Keeps them for this tab, over a reload. */
export function keepJobs(jobs: readonly KeptJob[]): void {
  try {
    sessionStorage.setItem(place, JSON.stringify(jobs.map(({ jobId, input }) => ({ jobId, input }))));
  } catch {
    // A browser that keeps nothing: the page works all the same, until it is loaded again.
  }
}

/** Those that were kept when the page was loaded. */
export function keptJobs(): KeptJob[] {
  try {
    return JSON.parse(sessionStorage.getItem(place) ?? "[]");
  } catch {
    return [];
  }
}

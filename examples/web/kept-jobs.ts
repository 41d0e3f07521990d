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
    const kept: unknown = JSON.parse(sessionStorage.getItem(place) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isKeptJob) : [];
  } catch {
    return [];
  }
}

/** Another version of the page may have left something else there. */
function isKeptJob(value: unknown): value is KeptJob {
  if (typeof value !== "object" || value === null) return false;
  if (!("jobId" in value && "input" in value) || typeof value.jobId !== "string") return false;
  const { input } = value;
  return typeof input === "object" && input !== null && "prompt" in input && typeof input.prompt === "string";
}

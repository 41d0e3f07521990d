import type { GenerateInput } from "layerdiffuse";

/** A job that runs with or without the page: its input, and the id that leads back to it. The id is not a secret. */
export interface KeptJob {
  readonly jobId: string;
  readonly input: GenerateInput;
}

const place = "layerdiffuse-jobs";

/** Stores the jobs for this tab, so that they survive a reload. */
export function keepJobs(jobs: readonly KeptJob[]): void {
  try {
    sessionStorage.setItem(place, JSON.stringify(jobs.map(({ jobId, input }) => ({ jobId, input }))));
  } catch {
    // The browser stores nothing. The page still works, but forgets its jobs when it is reloaded.
  }
}

/** The jobs that were stored when the page was loaded. */
export function keptJobs(): KeptJob[] {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(place) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isKeptJob) : [];
  } catch {
    return [];
  }
}

/** Another version of the page may have stored something else. */
function isKeptJob(value: unknown): value is KeptJob {
  if (typeof value !== "object" || value === null) return false;
  if (!("jobId" in value && "input" in value) || typeof value.jobId !== "string") return false;
  const { input } = value;
  return typeof input === "object" && input !== null && "prompt" in input && typeof input.prompt === "string";
}

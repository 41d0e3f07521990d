import type { LocalEndpoint, LocalJob } from "../../src/local/index.ts";

/** A job that was made at the endpoint, and what for. */
export interface MadeJob {
  readonly id: string;
  /** `caller-7 image 1.2`: of which caller, and which of its images. */
  readonly prompt: string;
}

/** Stands between the proxy and the endpoint: notes what each job is for, and answers in the endpoint's place now and then. */
export class Ledger {
  readonly made: MadeJob[] = [];
  /** Answers that were not the endpoint's own. */
  troubles = 0;
  /** What to answer in the endpoint's place: before it sees the request, or after, so that a job exists nobody knows of. */
  trouble: () => { status: number; when: "before" | "after" } | undefined = () => undefined;

  readonly watch = async (request: Request, pass: () => Promise<Response>): Promise<Response> => {
    const { pathname } = new URL(request.url);
    const isSubmission = /\/run(?:sync)?$/.test(pathname);
    const trouble = this.trouble();
    if (trouble?.when === "before") return this.#busy(trouble.status);
    if (!isSubmission) return await pass();
    const { input }: { input: { prompt: string } } = await request.clone().json();
    const response = await pass();
    const { id }: { id?: string } = await response.clone().json();
    if (id !== undefined) this.made.push({ id, prompt: input.prompt });
    return trouble ? this.#busy(trouble.status) : response;
  };

  #busy(status: number): Response {
    this.troubles++;
    const headers = status === 429 ? { "retry-after": "1" } : undefined;
    return Response.json({ error: "busy" }, { status, ...(headers && { headers }) });
  }

  /** The prompts for which there is more than one job. */
  get twice(): string[] {
    const groups = [...groupsOf(this.made, ({ prompt }) => prompt)];
    return groups.flatMap(([prompt, own]) => (own.length > 1 ? [prompt] : []));
  }

  /** The most jobs that one caller had at once, by the endpoint's own times. */
  mostAtOnce(endpoint: LocalEndpoint): number {
    const prompts = new Map(this.made.map(({ id, prompt }) => [id, prompt]));
    const callers = groupsOf(endpoint.jobs(), ({ id }) => callerOf(prompts.get(id) ?? ""));
    return Math.max(0, ...[...callers.values()].map(atOnce));
  }
}

export const callerOf = (prompt: string): string => prompt.split(" ")[0] ?? "";

function groupsOf<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

function atOnce(jobs: readonly LocalJob[]): number {
  const steps = jobs
    .flatMap(({ createdAt, endedAt = Number.POSITIVE_INFINITY }) => [[createdAt, 1] as const, [endedAt, -1] as const])
    // An end makes room in the same moment.
    .sort(([at, by], [other, than]) => at - other || by - than);
  let now = 0;
  let most = 0;
  for (const [, by] of steps) {
    now += by;
    most = Math.max(most, now);
  }
  return most;
}

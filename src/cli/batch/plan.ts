/** What is left to do for a list of prompts, given the folder's files and the manifest of earlier runs. */
import { fileName, fingerprint, withoutPosition } from "./file-name.ts";
import { endings, type ReadLine, type State } from "./manifest.ts";
import type { Entry } from "./prompt-list.ts";

/** A prompt whose image is not there yet. */
export interface Task extends Entry {
  /** Digest of the input. */
  key: string;
  file: string;
  /** The job of an earlier run, which may run or hold the image. */
  job?: { id: string; seed: number | undefined };
}

export interface DoubtfulTask extends Task {
  /** The job, where an earlier version of this program wrote down its id and not the input that it is for. */
  jobId?: string | undefined;
}

export interface Plan {
  /** Jobs to take up first: a result does not wait for long. */
  tasks: Task[];
  /** How many have their image already. */
  there: number;
  /** An earlier submission got no clear answer, so another could make a second job. */
  doubtful: DoubtfulTask[];
  /** Jobs of earlier runs that may hold an image, of another endpoint or for a prompt that is not in the list. */
  strays: Stray[];
}

export interface Stray {
  jobId: string;
  prompt: string;
  endpoint: string | undefined;
}

export interface PlanInput {
  entries: readonly Entry[];
  /** The names of the files in the folder. */
  files: readonly string[];
  lines: readonly ReadLine[];
  /** When the last of the lines was written, in epoch milliseconds. */
  writtenAt: number;
  /** Of this run; nothing to take jobs of any endpoint into account. */
  endpoint: string | undefined;
  /** Makes images again that are there. */
  force: boolean;
  /** Submits what is in doubt. */
  resubmitUnknown: boolean;
  /** Epoch milliseconds. */
  now: number;
}

/** How one prompt at one place in the list stood at last. */
interface Slot {
  position: number;
  key: string;
  endpoint: string | undefined;
  state: State;
  prompt: string;
  jobId: string | undefined;
  seed: number | undefined;
  time: string | undefined;
}

const mayHaveImage: ReadonlySet<State> = new Set(["submitted", "open"]);
const inDoubt: ReadonlySet<State> = new Set(["submitting", "unknown"]);

/** Milliseconds. Jobs live for 16 minutes by default, and their results for 30 more. */
const longestKept = 3_600_000;

/**
 * Decides by content, since a list may have been edited: files and jobs go to entries with the same input, first at the
 * same position, then at any. Each serves one entry, so that a prompt that stands twice in a list gets two images.
 */
export function planBatch(given: PlanInput): Plan {
  const { entries, files, lines, endpoint, force, resubmitUnknown, now } = given;
  const slots = slotsOf(lines);
  const isHere = (slot: Slot) => endpoint === undefined || slot.endpoint === endpoint;
  // A job can be asked for at its own endpoint only; a doubt is about money, wherever it was sent. Where there is both, the
  // job settles it.
  const open = [
    ...slots.filter((slot) => isHere(slot) && mayHaveImage.has(slot.state)),
    ...slots.filter((slot) => inDoubt.has(slot.state)),
  ];
  const all: Task[] = entries.map((entry) => ({
    ...entry,
    key: fingerprint(entry.input),
    file: fileName(entry.position, entry.input),
  }));
  const without = force ? all : withoutFile(all, files);
  const isWithout = new Set(without);
  // Whoever has its image needs no job: the job that made it, if it is not known to have ended, is not to serve another.
  const served = new Set(all.filter((task) => !isWithout.has(task)).map(({ position, key }) => `${position} ${key}`));
  const free = open.filter(({ position, key }) => !served.has(`${position} ${key}`));
  const slotOf = assign(
    without,
    free,
    ({ position, key }) => `${position} ${key}`,
    ({ key }) => key,
  );
  const plan: Plan = { tasks: [], there: all.length - without.length, doubtful: [], strays: [] };
  const fresh: Task[] = [];
  const oldJobs = now - given.writtenAt < longestKept ? jobsOfOldVersions(lines) : new Map<string, string>();
  for (const task of without) {
    const slot = slotOf.get(task);
    if (slot?.jobId !== undefined && mayHaveImage.has(slot.state))
      plan.tasks.push({ ...task, job: { id: slot.jobId, seed: slot.seed } });
    else {
      const jobId = slot ? undefined : oldJobs.get(`${task.position} ${task.input.prompt}`);
      const isDoubtful = (slot !== undefined || jobId !== undefined) && !resubmitUnknown;
      if (isDoubtful) plan.doubtful.push({ ...task, jobId });
      else fresh.push(task);
    }
  }
  plan.tasks.push(...fresh);
  const used = new Set(slotOf.values());
  const unused = new Set(free.filter((slot) => !used.has(slot)));
  for (const slot of slots) {
    const isYoung = slot.time !== undefined && now - Date.parse(slot.time) < longestKept;
    const isLeft = !isHere(slot) || unused.has(slot);
    if (slot.jobId === undefined || !mayHaveImage.has(slot.state) || !isLeft || !isYoung) continue;
    plan.strays.push({ jobId: slot.jobId, prompt: slot.prompt, endpoint: slot.endpoint });
  }
  return plan;
}

/** The prompts that have no file, by its name or by the name of another position. */
function withoutFile(tasks: readonly Task[], files: readonly string[]): Task[] {
  const ours = files.filter((name) => /^\d{4,}-.*\.png$/.test(name));
  const fileOf = assign(
    tasks.map((task) => ({ task, name: task.file })),
    ours.map((name) => ({ name })),
    ({ name }) => name,
    ({ name }) => withoutPosition(name),
  );
  const found = new Set([...fileOf.keys()].map(({ task }) => task));
  return tasks.filter((task) => !found.has(task));
}

/** Gives each of `wanting` one of `given`: first where the exact name is the same, then where the looser one is. */
function assign<Wanting, Given>(
  wanting: readonly Wanting[],
  given: readonly Given[],
  exact: (one: Wanting | Given) => string,
  loose: (one: Wanting | Given) => string,
): Map<Wanting, Given> {
  const assigned = new Map<Wanting, Given>();
  const taken = new Set<Given>();
  for (const nameOf of [exact, loose]) {
    const left = new Map<string, Given[]>();
    for (const one of given) {
      if (taken.has(one)) continue;
      const name = nameOf(one);
      const group = left.get(name);
      if (group) group.push(one);
      else left.set(name, [one]);
    }
    for (const one of wanting) {
      const match = assigned.has(one) ? undefined : left.get(nameOf(one))?.shift();
      if (match === undefined) continue;
      assigned.set(one, match);
      taken.add(match);
    }
  }
  return assigned;
}

/** The jobs of earlier versions that may hold an image, by position and prompt. Which settings they have, nobody knows. */
function jobsOfOldVersions(lines: readonly ReadLine[]): Map<string, string> {
  const jobs = new Map<string, string>();
  for (const { position, prompt, state, error } of lines) {
    const name = `${position} ${prompt}`;
    const { jobId, code = "" } = error ?? {};
    // Those versions cancelled the jobs that took too long.
    const isOver = endings.has(code) || code === "queue_timeout" || code === "execution_timeout";
    if (state === undefined && jobId !== undefined && !isOver) jobs.set(name, jobId);
    else jobs.delete(name);
  }
  return jobs;
}

/** How each prompt stands after all lines. What earlier versions wrote names no input, so it is not among them. */
function slotsOf(lines: readonly ReadLine[]): Slot[] {
  const slots = new Map<string, Slot>();
  const slotOfJob = new Map<string, string>();
  for (const { position, key, endpoint, state, jobId, seed, prompt = "", time } of lines) {
    if (key === undefined || state === undefined) continue;
    const id = `${position} ${key} ${endpoint}`;
    // A job that was taken up for another position has moved there.
    const before = jobId === undefined ? undefined : slotOfJob.get(jobId);
    if (before !== undefined && before !== id && slots.get(before)?.jobId === jobId) slots.delete(before);
    if (jobId !== undefined) slotOfJob.set(jobId, id);
    slots.set(id, { position, key, endpoint, state, prompt, jobId, seed, time });
  }
  return [...slots.values()];
}

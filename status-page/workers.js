// @ts-check
/**
 * The workers: a card for each that is there, and a fold with the last few that are gone. The endpoint's own counts are
 * in a fold of their own, since `/health` also counts workers that are not started and jobs that are deleted.
 *
 * @import { PageState } from "../src/local/status-page/page-state.ts"
 * @import { LocalWorker } from "../src/local/pool/local-worker.ts"
 */

import {
  age,
  byId,
  counted,
  keyedList,
  letScroll,
  makeScrollable,
  setAttribute,
  setBadge,
  setOptionalText,
  setText,
  stamp,
} from "./elements.js";

/** @type {Record<string, { words: string, tone?: string, busy?: boolean }>} */
const workerStates = {
  running: { words: "running", tone: "blue", busy: true },
  idle: { words: "idle", tone: "green" },
  initializing: { words: "initializing", tone: "amber", busy: true },
  throttled: { words: "throttled", tone: "amber" },
  unhealthy: { words: "unhealthy", tone: "red" },
  stopping: { words: "stopping" },
  gone: { words: "gone" },
};

const page = {
  heading: byId("workers", HTMLElement),
  counts: byId("worker-counts", HTMLElement),
  scroller: byId("worker-scroller", HTMLElement),
  list: byId("worker-list", HTMLElement),
  none: byId("no-workers", HTMLElement),
  gone: byId("gone-workers", HTMLDetailsElement),
  goneTitle: byId("gone-title", HTMLElement),
  crashed: byId("gone-crashed", HTMLElement),
  goneList: byId("gone-list", HTMLElement),
  healthJobs: byId("health-jobs", HTMLElement),
  healthWorkers: byId("health-workers", HTMLElement),
};

/** @param {LocalWorker} first */
function createWorker(first) {
  const { element, part } = stamp("worker-template");
  const parts = {
    state: part("state", HTMLElement),
    pid: part("pid", HTMLElement),
    age: part("age", HTMLElement),
    jobs: part("jobs", HTMLElement),
    problem: part("problem", HTMLElement),
    log: part("log", HTMLDetailsElement),
    logTitle: part("log-title", HTMLElement),
    logLines: part("log-lines", HTMLElement),
  };
  element.dataset["worker"] = first.id;
  setText(part("id", HTMLElement), first.id);
  makeScrollable(parts.logLines, `Last lines of worker ${first.id}`);
  parts.log.addEventListener("toggle", () => {
    if (parts.log.open) parts.logLines.scrollTop = parts.logLines.scrollHeight;
  });

  /** @param {LocalWorker} worker @param {PageState} state */
  function update(worker, { now }) {
    setBadge(parts.state, workerStates, worker.state);
    element.dataset["state"] = worker.state;
    setOptionalText(parts.pid, worker.pid === undefined ? undefined : `pid ${worker.pid}`);
    setText(parts.age, `started ${age(now - worker.startedAt)}`);
    setOptionalText(parts.jobs, worker.jobs.length === 0 ? undefined : `holds ${worker.jobs.join(", ")}`);
    setOptionalText(parts.problem, worker.problem);
    parts.log.hidden = worker.log.length === 0;
    setText(parts.logTitle, `Log, last ${counted(worker.log.length, "line")}`);
    const { scrollTop, clientHeight, scrollHeight } = parts.logLines;
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - 4;
    setText(parts.logLines, worker.log.join("\n"));
    if (isAtEnd) parts.logLines.scrollTop = parts.logLines.scrollHeight;
  }

  return { element, update };
}

const key = (/** @type {LocalWorker} */ worker) => worker.id;
const showPresent = keyedList(page.list, page.heading, key, createWorker);
const showGone = keyedList(page.goneList, page.heading, key, createWorker);

/** @param {PageState} state */
export function showWorkers(state) {
  // The newest first; their order by age never changes, so that none is moved.
  const workers = [...state.workers].sort((one, other) => other.startedAt - one.startedAt);
  const present = workers.filter((worker) => worker.state !== "gone");
  const gone = workers.filter((worker) => worker.state === "gone");
  showPresent(present, state);
  letScroll(page.scroller);
  page.none.hidden = present.length > 0;
  const counts = Object.entries(workerStates).flatMap(([name, { words }]) => {
    const count = present.filter((worker) => worker.state === name).length;
    return count === 0 ? [] : [`${count} ${words}`];
  });
  setText(page.counts, counts.join(", "));

  if (gone.length === 0 && page.gone.contains(document.activeElement)) page.heading.focus();
  page.gone.hidden = gone.length === 0;
  const crashed = gone.filter(({ problem }) => problem !== undefined).length;
  setText(page.goneTitle, `${gone.length} gone`);
  setOptionalText(page.crashed, crashed === 0 ? undefined : `${crashed} with a problem`);
  showGone(gone, state);

  showHealthJobs(state.health.jobs);
  showHealthWorkers(state.health.workers);
}

/**
 * @param {HTMLElement} group
 * @param {string[]} names
 * @returns {(values: Readonly<Record<string, number>>) => void}
 */
function countGroup(group, names) {
  const cells = names.map((name) => {
    const { element } = stamp("count-template");
    const [term, value] = element.children;
    if (term === undefined || value === undefined) throw new Error("the template of counts lacks its parts");
    setText(term, name);
    element.dataset["count"] = name;
    group.append(element);
    return { name, element, value };
  });
  return (values) => {
    for (const { name, element, value } of cells) {
      const count = values[name] ?? 0;
      setText(value, String(count));
      setAttribute(element, "data-zero", count === 0 ? "" : undefined);
    }
  };
}

// The names are those of the answer.
const showHealthJobs = countGroup(page.healthJobs, ["inQueue", "inProgress", "completed", "failed", "retried"]);
const showHealthWorkers = countGroup(page.healthWorkers, [
  "running",
  "idle",
  "ready",
  "initializing",
  "throttled",
  "unhealthy",
]);

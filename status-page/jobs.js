// @ts-check
/**
 * The list of jobs: one page of the newest, of all states or of one, which the address keeps.
 *
 * @import { PageJob } from "../src/local/status-page/job-list.ts"
 * @import { PageState } from "../src/local/status-page/page-state.ts"
 */

import { act, refresh } from "./actions.js";
import {
  age,
  asObject,
  byId,
  counted,
  duration,
  keyedList,
  makeScrollable,
  setAttribute,
  setBadge,
  setOptionalText,
  setText,
  stamp,
} from "./elements.js";
import { showPicture } from "./viewer.js";

const pageSize = 12;
/** The endpoint lists no more. */
const mostRows = 200;
const longestErrorLine = 160;

/** @type {Record<string, { words: string, tone?: string, busy?: boolean }>} */
const jobStates = {
  IN_QUEUE: { words: "in queue", tone: "amber" },
  IN_PROGRESS: { words: "in progress", tone: "blue", busy: true },
  COMPLETED: { words: "completed", tone: "green" },
  FAILED: { words: "failed", tone: "red" },
  TIMED_OUT: { words: "timed out", tone: "red" },
  CANCELLED: { words: "cancelled" },
};

const list = byId("job-list", HTMLElement);
const parts = {
  top: byId("top", HTMLElement),
  heading: byId("jobs", HTMLElement),
  filters: byId("filters", HTMLElement),
  newJobs: byId("new-jobs", HTMLButtonElement),
  noJobs: byId("no-jobs", HTMLElement),
  noMatch: byId("no-match", HTMLElement),
  example: byId("example", HTMLElement),
  older: byId("older-jobs", HTMLElement),
  showMore: byId("show-more", HTMLButtonElement),
  olderCount: byId("older-count", HTMLElement),
};

/** A state's name in the address: `/?jobs=timed-out`. @param {string} status */
const inAddress = (status) => status.toLowerCase().replace("_", "-");

/** The state in the address. Undefined: all of them. */
function chosenStatus() {
  const name = new URLSearchParams(location.search).get("jobs");
  return Object.keys(jobStates).find((status) => inAddress(status) === name);
}

let status = chosenStatus();
let limit = pageSize;
/** The jobs in the list, the newest first. @type {readonly PageJob[]} */
let listed = [];
let isPointedAt = false;

/**
 * Whether the rows must stay where they are: somebody points at one, has the focus in one, or has scrolled into them.
 * What is in them changes nevertheless.
 */
function isHeld() {
  if (listed.length === 0) return false;
  const isScrolledInto = list.getBoundingClientRect().top < parts.top.getBoundingClientRect().bottom;
  return isPointedAt || isScrolledInto || list.contains(document.activeElement);
}

/** Which jobs to ask the endpoint for. */
export function jobQuery() {
  const query = new URLSearchParams({ limit: String(limit) });
  if (status !== undefined) query.set("status", status);
  if (isHeld()) query.set("keep", listed.map(({ order }) => order).join(","));
  return query;
}

/**
 * @param {PageState} state
 * @param {URLSearchParams} query what it is the answer to
 */
export function showJobs(state, query) {
  showFilters(state);
  listed = query.has("keep") ? withDeleted(state.jobs) : state.jobs;
  showRows(listed, state);

  const all = total(state.jobsByStatus);
  parts.noJobs.hidden = all > 0;
  const words = status === undefined ? "" : (jobStates[status]?.words ?? status);
  setOptionalText(parts.noMatch, all > 0 && listed.length === 0 ? `No jobs are ${words}.` : undefined);
  const address = `${state.url ?? ""}/${state.endpointId}`;
  const sample = `-H 'Authorization: Bearer local' -H 'Content-Type: application/json' -d '{"input":{"prompt":"a red apple"}}'`;
  setText(parts.example, `curl ${address}/run ${sample}`);

  if (state.newJobs === 0 && document.activeElement === parts.newJobs) parts.heading.focus();
  setText(parts.newJobs, state.newJobs === 0 ? "" : `Show ${state.newJobs} new`);
  // Hidden it keeps its place, so that nothing moves when it comes.
  setAttribute(parts.newJobs, "data-none", state.newJobs === 0 ? "" : undefined);

  const { olderJobs } = state;
  const more = Math.min(pageSize, olderJobs, mostRows - limit);
  if (more <= 0 && document.activeElement === parts.showMore) parts.heading.focus();
  parts.older.hidden = olderJobs === 0;
  parts.showMore.hidden = more <= 0;
  setText(parts.showMore, `Show ${more} more`);
  const older = counted(olderJobs, "older job");
  setText(parts.olderCount, more > 0 ? older : `and ${older}, not listed. Choose a state to find them.`);
}

/** Jobs that were deleted keep their row while the list is held. @param {readonly PageJob[]} jobs */
function withDeleted(jobs) {
  const latest = new Map(jobs.map((job) => [job.id, job]));
  // None is left: it is another endpoint, or another list.
  if (!listed.some(({ id }) => latest.has(id))) return jobs;
  const shown = new Set(listed.map(({ id }) => id));
  return [...listed.map((job) => latest.get(job.id) ?? job), ...jobs.filter(({ id }) => !shown.has(id))];
}

/** @param {PageState["jobsByStatus"]} counts */
const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

const filters = [undefined, ...Object.keys(jobStates)].map((filter) => {
  const { element, part } = stamp("filter-template");
  if (!(element instanceof HTMLAnchorElement)) throw new Error("a filter must be a link");
  element.href = filter === undefined ? "/" : `/?jobs=${inAddress(filter)}`;
  element.dataset["filter"] = filter ?? "all";
  setText(part("words", HTMLElement), filter === undefined ? "all" : (jobStates[filter]?.words ?? filter));
  parts.filters.append(element);
  return { filter, element, count: part("count", HTMLElement) };
});

/** @param {PageState} state */
function showFilters({ jobsByStatus }) {
  /** @type {Readonly<Record<string, number>>} */
  const counts = jobsByStatus;
  for (const { filter, element, count } of filters) {
    const number = filter === undefined ? total(jobsByStatus) : (counts[filter] ?? 0);
    setText(count, String(number));
    setAttribute(element, "data-zero", number === 0 ? "" : undefined);
    setAttribute(element, "data-tone", filter === undefined ? undefined : jobStates[filter]?.tone);
    setAttribute(element, "aria-current", filter === status ? "true" : undefined);
  }
}

/** Lets the rows go, so that the next answer shows the newest. */
function startOver() {
  status = chosenStatus();
  limit = pageSize;
  listed = [];
  refresh();
}

for (const { element } of filters) {
  element.addEventListener("click", (event) => {
    // In a new tab the link works by itself.
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState(null, "", element.href);
    startOver();
  });
}

addEventListener("popstate", startOver);

parts.newJobs.addEventListener("click", () => {
  if (list.getBoundingClientRect().top < parts.top.getBoundingClientRect().bottom) parts.heading.scrollIntoView();
  startOver();
});

parts.showMore.addEventListener("click", () => {
  limit = Math.min(mostRows, Math.max(limit, listed.length) + pageSize);
  refresh();
});

list.addEventListener("pointerenter", ({ pointerType }) => {
  // A finger does not stay.
  isPointedAt = pointerType === "mouse";
});

list.addEventListener("pointerleave", () => {
  isPointedAt = false;
});

/** @param {PageJob} first */
function createJob(first) {
  const { element, part } = stamp("job-template");
  const row = {
    picture: part("picture", HTMLButtonElement),
    title: part("title", HTMLElement),
    status: part("status", HTMLElement),
    retries: part("retries", HTMLElement),
    times: part("times", HTMLElement),
    took: part("took", HTMLElement),
    result: part("result", HTMLElement),
    cancel: part("cancel", HTMLButtonElement),
    toggle: part("toggle", HTMLButtonElement),
    details: part("details", HTMLElement),
  };
  const path = `/page/jobs/${encodeURIComponent(first.id)}`;
  const image = row.picture.querySelector("img");
  const updateDetails = createDetails(first, path, part);
  let job = first;
  let now = 0;
  let picturePath = "";

  element.dataset["job"] = first.id;
  setText(row.title, first.title);
  row.title.title = first.title;
  setOptionalText(part("settings", HTMLElement), first.settings);
  row.cancel.ariaLabel = `Cancel job ${first.id}`;
  row.picture.ariaLabel = `Image of job ${first.id}, show at full size`;
  row.toggle.ariaLabel = `Details of job ${first.id}`;
  row.details.id = `details-${first.id}`;
  row.toggle.setAttribute("aria-controls", row.details.id);
  row.cancel.addEventListener("click", () => {
    void act(`${path}/cancel`, {}, () => `Cancelled job ${first.id}.`);
  });
  row.picture.addEventListener("click", () => showPicture(job, picturePath));
  row.toggle.addEventListener("click", () => {
    row.details.hidden = !row.details.hidden;
    row.toggle.ariaExpanded = String(!row.details.hidden);
    if (!row.details.hidden) updateDetails(job, now);
  });

  /** @param {PageJob} latest @param {PageState} state */
  function update(latest, state) {
    job = latest;
    now = state.now;
    const { retries, error, picture, startedAt, endedAt } = job;
    setBadge(row.status, jobStates, job.status);
    element.dataset["status"] = job.status;
    setOptionalText(row.retries, retries === 0 ? undefined : counted(retries, "retry", "retries"));
    setText(row.times, timesOf(job, now));
    const took = startedAt !== undefined && endedAt !== undefined ? `ran ${duration(endedAt - startedAt)}` : undefined;
    setOptionalText(row.took, took);
    const result = error === undefined ? (job.progress ?? job.output ?? "") : headline(error);
    setText(row.result, result);
    row.result.title = result;
    setAttribute(row.result, "data-kind", error !== undefined ? "error" : job.progress ? "progress" : undefined);
    // A button that goes would take the focus with it, back to the top of the page.
    if (endedAt !== undefined && document.activeElement === row.cancel) element.focus();
    row.cancel.hidden = endedAt !== undefined;
    // A job that is tried again has another picture, under another address.
    const source = picture === undefined ? "" : `${path}/picture?${endedAt}`;
    row.picture.hidden = source === "";
    if (source !== picturePath) {
      picturePath = source;
      if (source === "") image?.removeAttribute("src");
      else if (image) image.src = source;
    }
    if (!row.details.hidden) updateDetails(job, now);
  }

  return { element, update };
}

/**
 * What a row shows on demand.
 *
 * @param {PageJob} first
 * @param {string} path
 * @param {ReturnType<typeof stamp>["part"]} part
 * @returns {(job: PageJob, now: number) => void}
 */
function createDetails(first, path, part) {
  const facts = {
    operation: part("operation", HTMLElement),
    arrived: part("arrived", HTMLElement),
    queued: part("queued", HTMLElement),
    ran: part("ran", HTMLElement),
    worker: part("worker", HTMLElement),
  };
  const texts = ["error", "input", "output"].map((name) => {
    const text = part(name, HTMLElement);
    makeScrollable(text, `${name} of job ${first.id}`);
    return { name, text, box: part(`${name}-box`, HTMLElement) };
  });
  setText(part("id", HTMLElement), first.id);
  setText(facts.operation, `/${first.operation}`);
  const answer = part("answer", HTMLAnchorElement);
  answer.href = path;
  answer.ariaLabel = `Whole answer as JSON, of job ${first.id}, in a new tab`;
  return (job, now) => {
    const { startedAt, endedAt } = job;
    setText(facts.arrived, `${age(now - job.createdAt)}`);
    setText(facts.queued, duration((startedAt ?? endedAt ?? now) - job.queuedAt));
    setText(facts.ran, startedAt === undefined ? "not yet" : duration((endedAt ?? now) - startedAt));
    setText(facts.worker, job.workerId ?? "none");
    /** @type {Record<string, string | undefined>} */
    const values = { error: job.error && readableError(job.error), input: job.input, output: job.outputJson };
    for (const { name, text, box } of texts) {
      box.hidden = values[name] === undefined;
      setText(text, values[name] ?? "");
    }
  };
}

/** @param {PageJob} job @param {number} now */
function timesOf({ status, queuedAt, startedAt, endedAt }, now) {
  if (status === "IN_QUEUE") return `for ${duration(now - queuedAt)}`;
  if (endedAt === undefined) return `for ${duration(now - (startedAt ?? queuedAt))}`;
  return age(now - endedAt);
}

/** The one line that says most. Workers under the runpod library send the text of an object. @param {string} error */
function headline(error) {
  const message = asObject(error)?.["error_message"] ?? error;
  const [line = ""] = String(message).trim().split("\n", 1);
  return line.length > longestErrorLine ? `${line.slice(0, longestErrorLine)}…` : line;
}

/** An object's text laid out, a key a line, so that tracebacks have their lines. @param {string} error */
function readableError(error) {
  const object = asObject(error);
  if (object === undefined) return error;
  return Object.entries(object)
    .map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("\n");
}

const showRows = keyedList(list, parts.heading, (/** @type {PageJob} */ job) => job.id, createJob);

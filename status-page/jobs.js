// @ts-check
/**
 * The list of jobs: one page of the newest, of all states or of one, which the address keeps.
 *
 * @import { PageJob } from "../src/local/status-page/job-list.ts"
 * @import { PageState } from "../src/local/status-page/page-state.ts"
 */

import { refresh } from "./actions.js";
import { byId, counted, keyedList, setAttribute, setOptionalText, setText, stamp } from "./elements.js";
import { createJob, jobStates } from "./job-row.js";

const pageSize = 12;
/** The endpoint lists no more. */
const mostRows = 200;

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

const showRows = keyedList(list, parts.heading, (/** @type {PageJob} */ job) => job.id, createJob);

// @ts-check
/**
 * The status page of the local endpoint. It asks for the state once a second and changes only what is new, so that
 * focus, open details and the scroll position stay. Everything from the endpoint is inserted as text, never as HTML.
 *
 * @import { PageState } from "../src/local/status-page/page-state.ts"
 */

import { act, answerMilliseconds, notify } from "./actions.js";
import { byId, counted, setOptionalText, setText } from "./elements.js";
import { showFaults } from "./faults.js";
import { jobQuery, showJobs } from "./jobs.js";
import { showWorkers } from "./workers.js";

const pollMilliseconds = 1_000;
/** A screen reader reads out ended jobs no more often than this. */
const quietMilliseconds = 5_000;

const page = {
  address: byId("address", HTMLElement),
  connection: byId("connection", HTMLElement),
  connectionText: byId("connection-text", HTMLElement),
  outage: byId("outage", HTMLElement),
  quiet: byId("quiet", HTMLElement),
  example: byId("example", HTMLElement),
  copy: byId("copy", HTMLButtonElement),
  purge: byId("purge", HTMLButtonElement),
};

/** @param {PageState} state @param {URLSearchParams} query what it is the answer to */
function show(state, query) {
  setText(page.address, `${state.url ?? ""}/${state.endpointId}`);
  showJobs(state, query);
  showWorkers(state);
  showFaults(state);
  readOutEnds(state);
}

/** @type {{ completed: number, failed: number } | undefined} */
let readOut;
let readOutAt = Number.NEGATIVE_INFINITY;

/** Tells screen readers how many jobs ended, many at once rather than one by one. @param {PageState} state */
function readOutEnds({ health: { jobs } }) {
  const { completed, failed } = jobs;
  const last = readOut ?? { completed, failed };
  readOut ??= last;
  // Counts that fell are of another endpoint, started since.
  if (completed < last.completed || failed < last.failed) readOut = { completed, failed };
  const ended = { completed: completed - last.completed, failed: failed - last.failed };
  if (ended.completed <= 0 && ended.failed <= 0) return;
  if (performance.now() - readOutAt < quietMilliseconds) return;
  readOut = { completed, failed };
  readOutAt = performance.now();
  const words = [];
  if (ended.completed > 0) words.push(`${counted(ended.completed, "job")} completed`);
  if (ended.failed > 0) words.push(`${counted(ended.failed, "job")} failed`);
  setText(page.quiet, `${words.join(", ")}.`);
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let pollTimer;
/** Counts polls, so that an answer that comes after a later one was asked for is dropped. */
let latestPoll = 0;

async function poll() {
  clearTimeout(pollTimer);
  const number = ++latestPoll;
  let problem = "";
  /** @type {PageState | undefined} */
  let state;
  const query = jobQuery();
  try {
    const response = await fetch(`/page/state?${query}`, { signal: AbortSignal.timeout(answerMilliseconds) });
    if (response.ok) state = await response.json();
    else problem = `The endpoint answered with ${response.status}. Trying again.`;
  } catch {
    problem = "The endpoint has stopped. Trying again.";
  }
  if (number !== latestPoll) return;
  showConnection(problem);
  // Timers are set even where showing fails, so that one odd answer does not end it all.
  if (!document.hidden) pollTimer = setTimeout(poll, pollMilliseconds);
  if (state !== undefined) show(state, query);
}

/** @param {string} problem Empty while all is well. */
function showConnection(problem) {
  page.connection.dataset["state"] = problem === "" ? "live" : "stopped";
  setText(page.connectionText, problem === "" ? "Live" : "Stopped");
  if (problem !== "" && page.outage.hidden) setText(page.quiet, problem);
  if (problem === "" && !page.outage.hidden) setText(page.quiet, "The endpoint is back.");
  setOptionalText(page.outage, problem === "" ? undefined : problem);
}

page.purge.addEventListener("click", () => {
  void act("/page/purge", {}, ({ removed }) =>
    removed === 0 ? "The queue was empty." : `Purged ${counted(Number(removed), "job")}.`,
  );
});

page.copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(page.example.textContent ?? "");
    notify("Copied.");
  } catch {
    // Not allowed: selected, it is one key away.
    getSelection()?.selectAllChildren(page.example);
    notify("Press Ctrl+C to copy.");
  }
});

document.addEventListener("refresh", () => void poll());

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(pollTimer);
  else void poll();
});

void poll();

// @ts-check
/**
 * The row of a job and its details.
 *
 * @import { PageJob } from "../src/local/status-page/job-list.ts"
 * @import { PageState } from "../src/local/status-page/page-state.ts"
 */

import { act } from "./actions.js";
import {
  age,
  asObject,
  counted,
  duration,
  makeScrollable,
  setAttribute,
  setBadge,
  setOptionalText,
  setText,
  stamp,
} from "./elements.js";
import { showPicture } from "./viewer.js";

const longestErrorLine = 160;

/** @type {Record<string, { words: string, tone?: string, busy?: boolean }>} */
export const jobStates = {
  IN_QUEUE: { words: "in queue", tone: "amber" },
  IN_PROGRESS: { words: "in progress", tone: "blue", busy: true },
  COMPLETED: { words: "completed", tone: "green" },
  FAILED: { words: "failed", tone: "red" },
  TIMED_OUT: { words: "timed out", tone: "red" },
  CANCELLED: { words: "cancelled" },
};

/** @param {PageJob} first */
export function createJob(first) {
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

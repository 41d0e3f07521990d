// @ts-check
/**
 * The status page of the local endpoint. It asks for the state once a second and changes only what is new, so that
 * focus, open details and the scroll position stay. Everything from the endpoint is inserted as text, never as HTML.
 *
 * @import { PageFault, PageJob, PageState } from "../src/local/status-page/page-state.ts"
 * @import { LocalWorker } from "../src/local/pool/local-worker.ts"
 */

const pollMilliseconds = 1_000;
/** An endpoint on this computer that takes longer counts as stopped. */
const answerMilliseconds = 5_000;
const noticeMilliseconds = 6_000;
/** A screen reader reads out ended jobs no more often than this. */
const quietMilliseconds = 5_000;
const longestErrorLine = 160;

/** @type {Record<string, { words: string, tone?: string, busy?: boolean }>} */
const jobStates = {
  IN_QUEUE: { words: "in queue", tone: "amber" },
  IN_PROGRESS: { words: "in progress", tone: "blue", busy: true },
  COMPLETED: { words: "completed", tone: "green" },
  FAILED: { words: "failed", tone: "red" },
  CANCELLED: { words: "cancelled" },
  TIMED_OUT: { words: "timed out", tone: "red" },
};

/** @type {Record<string, { words: string, tone?: string, busy?: boolean }>} */
const workerStates = {
  throttled: { words: "throttled", tone: "amber" },
  initializing: { words: "initializing", tone: "amber", busy: true },
  idle: { words: "idle", tone: "green" },
  running: { words: "running", tone: "blue", busy: true },
  stopping: { words: "stopping" },
  unhealthy: { words: "unhealthy", tone: "red" },
  gone: { words: "gone" },
};

/** @type {[name: keyof PageState["jobCounts"], words: string, tone: string][]} */
const jobCounts = [
  ["inQueue", "in queue", "amber"],
  ["inProgress", "in progress", "blue"],
  ["completed", "completed", ""],
  ["failed", "failed", "red"],
  ["retried", "retried", "amber"],
];

/** @type {[name: keyof PageState["workerCounts"], words: string, tone: string][]} */
const workerCounts = [
  ["running", "running", "blue"],
  ["idle", "idle", ""],
  ["ready", "ready", ""],
  ["initializing", "initializing", "amber"],
  ["throttled", "throttled", "amber"],
  ["unhealthy", "unhealthy", "red"],
];

const badGateway = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";

/** What each choice of the form asks the endpoint for. @type {Record<string, (delay: number) => object>} */
const effects = {
  429: () => ({ respond: { status: 429, headers: { "retry-after": "1" } } }),
  500: () => ({ respond: { status: 500, body: { error: "internal server error" } } }),
  502: () => ({ respond: { status: 502, body: badGateway } }),
  reset: () => ({ reset: true }),
  cut: () => ({ cut: true }),
  delay: (delay) => ({ delay }),
  hang: () => ({ hang: true }),
};

/**
 * @template {Element} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page lacks its ${id}`);
  return element;
}

const page = {
  address: byId("address", HTMLElement),
  connection: byId("connection", HTMLElement),
  connectionText: byId("connection-text", HTMLElement),
  outage: byId("outage", HTMLElement),
  quiet: byId("quiet", HTMLElement),
  notice: byId("notice", HTMLElement),
  jobCounts: byId("job-counts", HTMLElement),
  workerCounts: byId("worker-counts", HTMLElement),
  jobsHeading: byId("jobs", HTMLElement),
  jobs: byId("job-list", HTMLElement),
  noJobs: byId("no-jobs", HTMLElement),
  moreJobs: byId("more-jobs", HTMLElement),
  example: byId("example", HTMLElement),
  copy: byId("copy", HTMLButtonElement),
  purge: byId("purge", HTMLButtonElement),
  workersHeading: byId("workers", HTMLElement),
  workers: byId("worker-list", HTMLElement),
  noWorkers: byId("no-workers", HTMLElement),
  faultsHeading: byId("faults", HTMLElement),
  faults: byId("fault-list", HTMLElement),
  noFaults: byId("no-faults", HTMLElement),
  clearFaults: byId("clear-faults", HTMLButtonElement),
  addFault: byId("add-fault", HTMLFormElement),
  delayField: byId("delay-field", HTMLElement),
  coldStartNow: byId("cold-start-now", HTMLElement),
  setColdStart: byId("set-cold-start", HTMLFormElement),
  viewer: byId("viewer", HTMLDialogElement),
  viewerTitle: byId("viewer-title", HTMLElement),
  viewerSize: byId("viewer-size", HTMLElement),
  viewerPicture: byId("viewer-picture", HTMLImageElement),
  viewerStage: byId("viewer-stage", HTMLElement),
  viewerFit: byId("viewer-fit", HTMLButtonElement),
  viewerDownload: byId("viewer-download", HTMLAnchorElement),
  viewerClose: byId("viewer-close", HTMLButtonElement),
};

// Writing what is there already would throw away a selection, and wake screen readers.

/** @param {Element} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} element @param {string | undefined} text Hidden without one. */
function setOptionalText(element, text) {
  element.hidden = text === undefined;
  setText(element, text ?? "");
}

/** @param {Element} element @param {string} name @param {string | undefined} value Removed without one. */
function setAttribute(element, name, value) {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** @param {Element} badge @param {Record<string, { words: string, tone?: string, busy?: boolean }>} states @param {string} state */
function setBadge(badge, states, state) {
  const { words, tone, busy } = states[state] ?? { words: state };
  setText(badge, words);
  setAttribute(badge, "data-tone", tone);
  setAttribute(badge, "data-busy", busy ? "" : undefined);
}

/**
 * A copy of a template's element, and a way to its parts by name.
 *
 * @param {string} id
 */
function stamp(id) {
  const element = byId(id, HTMLTemplateElement).content.firstElementChild?.cloneNode(true);
  if (!(element instanceof HTMLElement)) throw new Error(`the template ${id} is empty`);
  /** @template {HTMLElement} Kind @param {string} name @param {new () => Kind} kind @returns {Kind} */
  const part = (name, kind) => {
    const found = element.querySelector(`[data-part="${name}"]`);
    if (!(found instanceof kind)) throw new Error(`the template ${id} lacks its ${name}`);
    return found;
  };
  return { element, part };
}

/**
 * Lets the keyboard reach and scroll what may be longer than its box.
 *
 * @param {HTMLElement} element
 * @param {string} label
 */
function makeScrollable(element, label) {
  element.tabIndex = 0;
  element.role = "region";
  element.ariaLabel = label;
}

/**
 * Keeps a list's elements in step with items: those that stay are changed in place and never moved.
 *
 * @template Item
 * @param {HTMLElement} list
 * @param {HTMLElement} heading Takes the focus when its element and all neighbours go.
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => { element: HTMLElement, update: (item: Item, state: PageState) => void }} create
 */
function keyedList(list, heading, keyOf, create) {
  /** @type {Map<string, ReturnType<typeof create>>} */
  const rows = new Map();
  return (/** @type {readonly Item[]} */ items, /** @type {PageState} */ state) => {
    const keys = new Set(items.map(keyOf));
    for (const [key, { element }] of rows) {
      if (keys.has(key)) continue;
      const next = element.nextElementSibling ?? element.previousElementSibling;
      const hadFocus = element.contains(document.activeElement);
      element.remove();
      rows.delete(key);
      if (hadFocus) (next instanceof HTMLElement ? next : heading).focus();
    }
    let place = list.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      const row = rows.get(key) ?? create(item);
      rows.set(key, row);
      if (row.element === place) place = place.nextElementSibling;
      else list.insertBefore(row.element, place);
      row.update(item, state);
    }
  };
}

/** @param {number} milliseconds */
function duration(milliseconds) {
  const most = Math.max(0, milliseconds);
  if (most < 1_000) return `${Math.round(most)} ms`;
  if (most < 60_000) return `${(Math.floor(most / 100) / 10).toFixed(1)} s`;
  const seconds = Math.floor(most / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
  return `${Math.floor(minutes / 1_440)} d ${Math.floor(minutes / 60) % 24} h`;
}

/** How long ago, in whole seconds: nobody needs it closer. @param {number} milliseconds */
function age(milliseconds) {
  if (milliseconds < 1_000) return "just now";
  return `${duration(milliseconds).replace(/\.\d s$/, " s")} ago`;
}

/** @param {number} count @param {string} one */
function counted(count, one) {
  return `${count} ${one}${count === 1 ? "" : "s"}`;
}

/**
 * @param {HTMLElement} group
 * @param {[name: string, words: string, tone: string][]} counts
 * @returns {(values: Readonly<Record<string, number>>) => void}
 */
function countGroup(group, counts) {
  const cells = counts.map(([name, words, tone]) => {
    const { element } = stamp("count-template");
    const [term, value] = element.children;
    if (term === undefined || value === undefined) throw new Error("the template of counts lacks its parts");
    setText(term, words);
    if (tone !== "") element.dataset["tone"] = tone;
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

/** @param {PageJob} first */
function createJob(first) {
  const { element, part } = stamp("job-template");
  const parts = {
    picture: part("picture", HTMLButtonElement),
    status: part("status", HTMLElement),
    retries: part("retries", HTMLElement),
    progress: part("progress", HTMLElement),
    output: part("output", HTMLElement),
    error: part("error", HTMLElement),
    longError: part("long-error", HTMLDetailsElement),
    errorLine: part("error-line", HTMLElement),
    errorText: part("error-text", HTMLElement),
    queued: part("queued", HTMLElement),
    ranFact: part("ran-fact", HTMLElement),
    ran: part("ran", HTMLElement),
    workerFact: part("worker-fact", HTMLElement),
    worker: part("worker", HTMLElement),
    age: part("age", HTMLElement),
    cancel: part("cancel", HTMLButtonElement),
    answer: part("answer", HTMLAnchorElement),
  };
  const path = `/page/jobs/${encodeURIComponent(first.id)}`;
  const image = parts.picture.querySelector("img");
  let job = first;
  let picturePath = "";

  element.dataset["job"] = first.id;
  setText(part("id", HTMLElement), first.id);
  part("id", HTMLElement).title = first.id;
  setText(part("operation", HTMLElement), first.operation);
  setText(part("summary", HTMLElement), first.summary);
  part("summary", HTMLElement).title = first.summary;
  parts.answer.href = path;
  parts.answer.ariaLabel = `JSON of job ${first.id}, in a new tab`;
  makeScrollable(parts.errorText, `Whole error of job ${first.id}`);
  parts.cancel.ariaLabel = `Cancel job ${first.id}`;
  parts.picture.ariaLabel = `Image of job ${first.id}, show at full size`;
  parts.cancel.addEventListener("click", () => {
    void act(`${path}/cancel`, {}, () => `Cancelled job ${first.id}.`);
  });
  parts.picture.addEventListener("click", () => showPicture(job, picturePath));

  /** @param {PageJob} latest @param {PageState} state */
  function update(latest, { now }) {
    job = latest;
    const { status, startedAt, endedAt, retries, error, picture } = job;
    const ended = endedAt !== undefined;
    setBadge(parts.status, jobStates, status);
    element.dataset["status"] = status;
    setOptionalText(parts.retries, retries === 0 ? undefined : retries === 1 ? "1 retry" : `${retries} retries`);
    setOptionalText(parts.progress, job.progress);
    setOptionalText(parts.output, job.output);
    showError(error);
    setText(parts.queued, duration((startedAt ?? endedAt ?? now) - job.queuedAt));
    parts.ranFact.hidden = startedAt === undefined;
    if (startedAt !== undefined) setText(parts.ran, duration((endedAt ?? now) - startedAt));
    parts.workerFact.hidden = job.workerId === undefined;
    setText(parts.worker, job.workerId ?? "");
    setText(parts.age, age(now - job.createdAt));
    // A button that goes would take the focus with it, back to the top of the page.
    if (ended && document.activeElement === parts.cancel) element.focus();
    parts.cancel.hidden = ended;
    // A job that is tried again has another picture, under another address.
    const path = picture === undefined ? "" : `/page/jobs/${encodeURIComponent(job.id)}/picture?${endedAt}`;
    parts.picture.hidden = path === "";
    if (path !== picturePath) {
      picturePath = path;
      if (path === "") image?.removeAttribute("src");
      else if (image) image.src = path;
    }
  }

  /** @param {string | undefined} error */
  function showError(error) {
    const line = error === undefined ? "" : headline(error);
    const isLong = error !== undefined && line !== error;
    setOptionalText(parts.error, isLong ? undefined : error);
    parts.longError.hidden = !isLong;
    setText(parts.errorLine, isLong ? line : "");
    setText(parts.errorText, isLong ? readable(error) : "");
  }

  return { element, update };
}

/** The one line that says most. Workers under the runpod library send the text of an object. @param {string} error */
function headline(error) {
  const message = asObject(error)?.["error_message"] ?? error;
  const [line = ""] = String(message).trim().split("\n", 1);
  return line.length > longestErrorLine ? `${line.slice(0, longestErrorLine)}…` : line;
}

/** An object's text laid out, a key a line, so that tracebacks have their lines. @param {string} error */
function readable(error) {
  const object = asObject(error);
  if (object === undefined) return error;
  return Object.entries(object)
    .map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("\n");
}

/** @param {string} text @returns {Record<string, unknown> | undefined} */
function asObject(text) {
  if (!text.startsWith("{")) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Text that only begins like JSON, or was cut short.
    return undefined;
  }
}

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
    setAttribute(element, "data-gone", worker.state === "gone" ? "" : undefined);
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

function createFault() {
  const { element, part } = stamp("fault-template");
  const parts = {
    operation: part("operation", HTMLElement),
    effect: part("effect", HTMLElement),
    times: part("times", HTMLElement),
  };

  /** @param {PageFault} fault */
  function update({ operations, effect, skip, times }) {
    setText(parts.operation, operations?.join(", ") ?? "any client request");
    setText(parts.effect, effect);
    const left = times === undefined ? "until cleared" : `${counted(times, "time")} more`;
    setText(parts.times, skip === 0 ? left : `after ${counted(skip, "request")}, ${left}`);
  }

  return { element, update };
}

const showJobCounts = countGroup(page.jobCounts, jobCounts);
const showWorkerCounts = countGroup(page.workerCounts, workerCounts);
const showJobs = keyedList(page.jobs, page.jobsHeading, (/** @type {PageJob} */ job) => job.id, createJob);
const showWorkers = keyedList(
  page.workers,
  page.workersHeading,
  (/** @type {LocalWorker} */ worker) => worker.id,
  createWorker,
);
const showFaults = keyedList(
  page.faults,
  page.faultsHeading,
  (/** @type {[number, PageFault]} */ [place]) => String(place),
  () => {
    const { element, update } = createFault();
    return { element, update: ([, fault]) => update(fault) };
  },
);

/** @param {PageState} state */
function show(state) {
  const { url = "", endpointId } = state;
  const address = `${url}/${endpointId}`;
  setText(page.address, address);
  showJobCounts(state.jobCounts);
  showWorkerCounts(state.workerCounts);

  showJobs(state.jobs, state);
  page.noJobs.hidden = state.jobs.length > 0;
  const sample = `-H 'Authorization: Bearer local' -H 'Content-Type: application/json' -d '{"input":{"prompt":"a red apple"}}'`;
  setText(page.example, `curl ${address}/run ${sample}`);
  const more = state.moreJobs;
  setOptionalText(page.moreJobs, more === 0 ? undefined : `and ${counted(more, "older job")}, not listed here.`);

  // The newest first; their order by age never changes, so that none is moved.
  showWorkers(
    [...state.workers].sort((one, other) => other.startedAt - one.startedAt),
    state,
  );
  page.noWorkers.hidden = state.workers.length > 0;

  showFaults([...state.faults.entries()], state);
  page.noFaults.hidden = state.faults.length > 0;
  if (state.faults.length === 0 && document.activeElement === page.clearFaults) page.faultsHeading.focus();
  page.clearFaults.hidden = state.faults.length === 0;

  setText(page.coldStartNow, `${state.coldStart / 1_000} s`);
  readOutEnds(state);
}

/** @type {{ completed: number, failed: number } | undefined} */
let readOut;
let readOutAt = Number.NEGATIVE_INFINITY;

/** Tells screen readers how many jobs ended, many at once rather than one by one. @param {PageState} state */
function readOutEnds({ jobCounts: { completed, failed } }) {
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
let noticeTimer;

/** Says what came of an action. @param {string} text @param {boolean} [isBad] */
function notify(text, isBad = false) {
  clearTimeout(noticeTimer);
  page.notice.hidden = false;
  page.notice.textContent = text;
  setAttribute(page.notice, "data-bad", isBad ? "" : undefined);
  noticeTimer = setTimeout(() => {
    page.notice.hidden = true;
  }, noticeMilliseconds);
}

/**
 * Asks the endpoint to do something, says what came of it and shows what is so now.
 *
 * @param {string} path
 * @param {object} body
 * @param {(answer: Record<string, unknown>) => string} inWords
 */
async function act(path, body, inWords) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-layerdiffuse-page": "1" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(answerMilliseconds),
    });
    const answer = await response.json();
    if (response.ok) notify(inWords(answer));
    else notify(String(answer.error ?? `The endpoint answered ${response.status}.`), true);
  } catch {
    notify("The endpoint cannot be reached. Nothing was changed.", true);
  }
  void poll();
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
  try {
    const response = await fetch("/page/state", { signal: AbortSignal.timeout(answerMilliseconds) });
    if (response.ok) state = await response.json();
    else problem = `The endpoint answered with ${response.status}. Trying again.`;
  } catch {
    problem = "The endpoint has stopped. Trying again.";
  }
  if (number !== latestPoll) return;
  showConnection(problem);
  // Timers are set even where showing fails, so that one odd answer does not end it all.
  if (!document.hidden) pollTimer = setTimeout(poll, pollMilliseconds);
  if (state !== undefined) show(state);
}

/** @param {string} problem Empty while all is well. */
function showConnection(problem) {
  page.connection.dataset["state"] = problem === "" ? "live" : "stopped";
  setText(page.connectionText, problem === "" ? "Live" : "Stopped");
  if (problem !== "" && page.outage.hidden) setText(page.quiet, problem);
  if (problem === "" && !page.outage.hidden) setText(page.quiet, "The endpoint is back.");
  setOptionalText(page.outage, problem === "" ? undefined : problem);
}

/** @param {PageJob} job @param {string} path */
function showPicture(job, path) {
  const extension = job.picture?.replace("image/", "").replace("jpeg", "jpg") ?? "png";
  setText(page.viewerTitle, job.id);
  setText(page.viewerSize, "");
  page.viewerPicture.src = path;
  page.viewerPicture.alt = `Output of job ${job.id}`;
  page.viewerDownload.href = path;
  page.viewerDownload.download = `${job.id}.${extension}`;
  page.viewer.showModal();
}

makeScrollable(page.viewerStage, "Image at full size");
page.viewerPicture.addEventListener("load", () => {
  const { naturalWidth, naturalHeight } = page.viewerPicture;
  setText(page.viewerSize, `${naturalWidth} × ${naturalHeight}`);
});
page.viewerFit.addEventListener("click", () => {
  const isFit = page.viewer.toggleAttribute("data-fit");
  page.viewerFit.ariaPressed = String(isFit);
});
page.viewerClose.addEventListener("click", () => page.viewer.close());
page.viewer.addEventListener("click", (event) => {
  // All of the dialog is covered by its children, so that this is a click beside it.
  if (event.target === page.viewer) page.viewer.close();
});
page.viewer.addEventListener("close", () => page.viewerPicture.removeAttribute("src"));

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

page.clearFaults.addEventListener("click", () => {
  void act("/page/faults/clear", {}, ({ cleared }) => `Cleared ${counted(Number(cleared), "fault")}.`);
});

function showDelayField() {
  const isDelay = new FormData(page.addFault).get("effect") === "delay";
  page.delayField.hidden = !isDelay;
  const input = page.delayField.querySelector("input");
  // A field that is not shown must not keep the form from being sent.
  if (input) input.disabled = !isDelay;
}

page.addFault.addEventListener("change", showDelayField);
// The browser may have kept what was chosen before the page was loaded again.
showDelayField();

page.addFault.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(page.addFault);
  const operation = String(fields.get("operation"));
  const effect = effects[String(fields.get("effect"))];
  if (effect === undefined) return;
  const fault = {
    ...effect(Number(fields.get("delay"))),
    ...(operation !== "" && { operation }),
    times: Number(fields.get("times")),
  };
  void act("/page/faults", fault, () => `Added a fault for ${operation || "any client request"}.`);
});

page.setColdStart.addEventListener("submit", (event) => {
  event.preventDefault();
  const seconds = Number(new FormData(page.setColdStart).get("seconds"));
  void act("/page/cold-start", { seconds }, () => `Workers that start from now on take ${seconds} s.`);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(pollTimer);
  else void poll();
});

void poll();

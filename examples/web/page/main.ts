// The page: a form, a stage that shows one image, and the history of all.
import { LayerDiffuse } from "layerdiffuse";
import { saveFile, zipImages } from "./download-all.ts";
import { keptJobs } from "./kept-jobs.ts";
import { readConfig } from "./page-config.ts";
import { isPending, type Picture, pauseOf } from "./picture.ts";
import { Studio } from "./studio.ts";
import { element, setText } from "./views/element.ts";
import { failureText, pauseText } from "./views/failure-text.ts";
import { HistoryView } from "./views/history-view.ts";
import { phaseText } from "./views/phase-text.ts";
import { PromptForm } from "./views/prompt-form.ts";
import { StageView } from "./views/stage-view.ts";

const config = readConfig(document.body);
// There is no key here: the server at this address has it.
const client = new LayerDiffuse({ proxyUrl: "/api/layerdiffuse", pricePerSecond: config.pricePerSecond });
const studio = new Studio(client, config.concurrency, {
  onChange,
  onForget: (picture) => history.forget(picture),
  onStorage: (storage) => history.showStorage(storage),
});

const announcer = element("announcer", HTMLElement);
const offline = element("offline", HTMLElement);
const history = new HistoryView({
  select: (picture) => {
    select(picture);
    stage.reveal();
  },
  downloadAll,
  clear: () => void clear(),
  say,
});
const stage = new StageView({
  cancel: (picture) => studio.cancel(picture),
  cancelAll: () => {
    for (const picture of studio.pending) studio.cancel(picture);
  },
  again: (picture) => studio.again(picture),
  reuse: ({ input }, seed) => form.fill(input, seed),
  lockSeed: (seed) => form.lockSeed(seed),
  pauseReason,
  say,
});
const form = new PromptForm(config.ratePerMinute, (inputs) => {
  select(studio.make(inputs));
  stage.reveal();
});

let selected: Picture | undefined;

function select(picture: Picture | undefined): void {
  if (!picture) return;
  selected = picture;
  history.select(picture);
  stage.show(picture, studio.pending.length);
}

async function downloadAll(): Promise<void> {
  saveFile(await zipImages(studio.pictures), `layerdiffuse ${new Date().toISOString().slice(0, 10)}.zip`);
}

async function clear(): Promise<void> {
  await studio.clear();
  say("The history is cleared.");
  selected = undefined;
  const [pending] = studio.pending;
  if (pending) select(pending);
  else stage.showEmpty();
}

function onChange(picture: Picture): void {
  history.update(picture);
  // Images that are requested later don't replace the finished one on the stage.
  if (selected) stage.show(selected, studio.pending.length);
  announce(picture);
}

/** What was last announced about each image. Steps are not announced, nor images that an earlier visit made. */
const said = new WeakMap<Picture, string>();

function announce(picture: Picture): void {
  const { state, input } = picture;
  const isDrawing = state.kind === "running" && state.progress.phase === "running";
  const words = {
    waiting: () => phaseText(picture),
    running: () => (isDrawing ? "generating" : phaseText(picture)),
    done: () => "done",
    failed: () => (state.kind === "failed" ? failureText(state.error).title : ""),
    cancelled: () => "cancelled",
  }[state.kind]();
  // For images that aren't on the stage, announce only the end.
  if ((isPending(picture) && picture !== selected) || said.get(picture) === words || picture.isStored) return;
  said.set(picture, words);
  say(`${input.prompt.slice(0, 80)}: ${words}. ${pauseReason(picture)}`.trim());
}

function say(text: string): void {
  setText(announcer, text);
}

function pauseReason(picture: Picture): string {
  const error = pauseOf(picture)?.error;
  return error && navigator.onLine ? pauseText(error, config) : "";
}

function showNetwork(): void {
  offline.hidden = navigator.onLine;
  setText(
    offline,
    navigator.onLine ? "" : "You are offline. Images that have started go on; new ones wait for the network.",
  );
}

addEventListener("offline", showNetwork);
addEventListener("online", () => {
  showNetwork();
  studio.reconnect();
});
showNetwork();

// Goes on with the jobs that ran before the page was reloaded, and shows what was made before.
select(studio.resume(keptJobs()));
void studio.restore().then((newest) => {
  if (!selected) select(newest);
});

// Closing the page cancels nothing, so running jobs would be paid for and lost.
addEventListener("beforeunload", (event) => {
  if (studio.pending.length > 0) event.preventDefault();
});

// Updates the times shown for images that wait.
setInterval(() => {
  if (selected) stage.tick(selected);
  for (const picture of studio.pending) history.update(picture);
}, 1_000);

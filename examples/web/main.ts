// The page: a form, a stage that shows one image, and the history of the session.
import { LayerDiffuse } from "layerdiffuse";
import { element, setText } from "./element.ts";
import { failureText } from "./failure-text.ts";
import { HistoryView } from "./history-view.ts";
import { keptJobs } from "./kept-jobs.ts";
import { phaseText } from "./phase-text.ts";
import { isPending, type Picture } from "./picture.ts";
import { StageView } from "./progress-view.ts";
import { PromptForm } from "./prompt-form.ts";
import { Studio } from "./studio.ts";

// There is no key here: the server at this address has it.
const client = new LayerDiffuse({ proxyUrl: "/api/layerdiffuse" });
const studio = new Studio(client, { onChange, onForget: (picture) => history.forget(picture) });

const announcer = element("announcer", HTMLElement);
const offline = element("offline", HTMLElement);
const history = new HistoryView(select);
const stage = new StageView({
  cancel: (picture) => studio.cancel(picture),
  cancelAll: () => {
    for (const picture of studio.pending) studio.cancel(picture);
  },
  again: (picture) => studio.again(picture),
  reuse: ({ input }, seed) => form.fill(input, seed),
  say,
});
const form = new PromptForm((inputs) => {
  select(studio.make(inputs));
});

let selected: Picture | undefined;

function select(picture: Picture | undefined): void {
  if (!picture) return;
  selected = picture;
  history.select(picture);
  stage.show(picture, studio.pending.length);
  stage.reveal();
}

function onChange(picture: Picture): void {
  history.update(picture);
  // Images that are requested later don't replace the finished one on the stage.
  if (selected) stage.show(selected, studio.pending.length);
  announce(picture);
  if (picture.state.kind === "done" && picture === selected) form.seedWas(picture.state.image.seed);
}

/** What was last announced about each image. Steps are not announced. */
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
  if ((isPending(picture) && picture !== selected) || said.get(picture) === words) return;
  said.set(picture, words);
  say(`${input.prompt.slice(0, 80)}: ${words}.`);
}

function say(text: string): void {
  setText(announcer, text);
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

// Goes on with the jobs that ran before the page was reloaded.
select(studio.resume(keptJobs()));

// Closing the page cancels nothing, so running jobs would be paid for and lost.
addEventListener("beforeunload", (event) => {
  if (studio.pending.length > 0) event.preventDefault();
});

// Updates the times shown for images that wait.
setInterval(() => {
  if (selected) stage.tick(selected);
  for (const picture of studio.pending) history.update(picture);
}, 1_000);

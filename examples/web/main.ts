// The page: a form that asks, a stage that shows one picture, and the history of the session.
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

// No key: the server behind this address has it.
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
  // What is asked for while a finished picture is looked at does not push it away.
  if (selected) stage.show(selected, studio.pending.length);
  announce(picture);
  if (picture.state.kind === "done" && picture === selected) form.seedWas(picture.state.image.seed);
}

/** What was said last of each picture: steps are counted in silence. */
const said = new WeakMap<Picture, string>();

function announce(picture: Picture): void {
  const { state, input } = picture;
  const isDrawing = state.kind === "running" && state.progress.phase === "running";
  const words = {
    waiting: () => phaseText(picture),
    running: () => (isDrawing ? "drawing" : phaseText(picture)),
    done: () => "done",
    failed: () => (state.kind === "failed" ? failureText(state.error).title : ""),
    cancelled: () => "cancelled",
  }[state.kind]();
  // Of those that are not looked at, the end is enough.
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
    navigator.onLine ? "" : "You are offline. Pictures that were begun go on; new ones wait here for the network.",
  );
}

addEventListener("offline", showNetwork);
addEventListener("online", () => {
  showNetwork();
  studio.reconnect();
});
showNetwork();

// What ran when the page was loaded anew runs on.
select(studio.resume(keptJobs()));

// Closing the page would cancel nothing and lose what is in the making, which was paid for.
addEventListener("beforeunload", (event) => {
  if (studio.pending.length > 0) event.preventDefault();
});

// The clocks of what waits.
setInterval(() => {
  if (selected) stage.tick(selected);
  for (const picture of studio.pending) history.update(picture);
}, 1_000);

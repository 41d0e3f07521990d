// @ts-check
/**
 * The faults and the cold start: what is set, and the forms that change it.
 *
 * @import { PageFault, PageState } from "../src/local/status-page/page-state.ts"
 */

import { act } from "./actions.js";
import { byId, counted, keyedList, letScroll, setText, stamp } from "./elements.js";

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

const page = {
  heading: byId("faults", HTMLElement),
  scroller: byId("fault-scroller", HTMLElement),
  list: byId("fault-list", HTMLElement),
  none: byId("no-faults", HTMLElement),
  clear: byId("clear-faults", HTMLButtonElement),
  add: byId("add-fault", HTMLFormElement),
  delayField: byId("delay-field", HTMLElement),
  coldStartNow: byId("cold-start-now", HTMLElement),
  setColdStart: byId("set-cold-start", HTMLFormElement),
};

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

const showRows = keyedList(
  page.list,
  page.heading,
  (/** @type {[number, PageFault]} */ [place]) => String(place),
  () => {
    const { element, update } = createFault();
    return { element, update: ([, fault]) => update(fault) };
  },
);

/** @param {PageState} state */
export function showFaults(state) {
  const { faults, coldStart } = state;
  showRows([...faults.entries()], state);
  letScroll(page.scroller);
  page.none.hidden = faults.length > 0;
  if (faults.length === 0 && document.activeElement === page.clear) page.heading.focus();
  page.clear.hidden = faults.length === 0;
  setText(page.coldStartNow, `${coldStart / 1_000} s`);
}

page.clear.addEventListener("click", () => {
  void act("/page/faults/clear", {}, ({ cleared }) => `Cleared ${counted(Number(cleared), "fault")}.`);
});

function showDelayField() {
  const isDelay = new FormData(page.add).get("effect") === "delay";
  page.delayField.hidden = !isDelay;
  const input = page.delayField.querySelector("input");
  // A field that is not shown must not keep the form from being sent.
  if (input) input.disabled = !isDelay;
}

page.add.addEventListener("change", showDelayField);
// The browser may have kept what was chosen before the page was loaded again.
showDelayField();

page.add.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(page.add);
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

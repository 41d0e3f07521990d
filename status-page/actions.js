// @ts-check
/** What the page asks the endpoint to do, and what it says came of it. */

import { byId, setAttribute } from "./elements.js";

/** An endpoint on this computer that takes longer counts as stopped. */
export const answerMilliseconds = 5_000;
const noticeMilliseconds = 6_000;
const notice = byId("notice", HTMLElement);

/** Has the page ask for the state at once. */
export function refresh() {
  document.dispatchEvent(new Event("refresh"));
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let noticeTimer;

/** Says what came of an action. @param {string} text @param {boolean} [isBad] */
export function notify(text, isBad = false) {
  clearTimeout(noticeTimer);
  notice.hidden = false;
  notice.textContent = text;
  setAttribute(notice, "data-bad", isBad ? "" : undefined);
  noticeTimer = setTimeout(() => {
    notice.hidden = true;
  }, noticeMilliseconds);
}

/**
 * Asks the endpoint to do something, says what came of it and shows what is so now.
 *
 * @param {string} path
 * @param {object} body
 * @param {(answer: Record<string, unknown>) => string} inWords
 */
export async function act(path, body, inWords) {
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
  refresh();
}

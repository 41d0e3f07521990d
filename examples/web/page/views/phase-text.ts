import type { Phase } from "layerdiffuse";
import { type Picture, pauseOf } from "../picture.ts";
import { minutesAndSeconds } from "./format.ts";

const words: Record<Phase, string> = {
  submitting: "sending",
  waiting: "the service is busy",
  queued: "waiting in the queue",
  starting: "waiting for a GPU: cold start",
  throttled: "waiting for a GPU: none is free",
  running: "generating",
  decoding: "decoding",
  done: "done",
};

/** What an image is waiting for, in words that stay the same while it waits. */
export function phaseText(picture: Picture): string {
  const { state } = picture;
  if (state.kind !== "waiting" && state.kind !== "running") return "";
  const isStuck = state.kind === "waiting" || state.progress.phase === "waiting";
  if (isStuck && !navigator.onLine) return "waiting for the network";
  if (state.kind === "waiting") return state.pause ? words.waiting : "waiting for its turn";
  const { phase, step, steps } = state.progress;
  return phase === "running" && step !== undefined && steps !== undefined ? `step ${step} of ${steps}` : words[phase];
}

/**
 * The same with the time so far, if there is nothing better to count (`…: cold start, 0:42`), or with the time until the
 * next try (`the service is busy; next try in 5 s`).
 */
export function phaseTextWithTime(picture: Picture, now: number): string {
  const text = phaseText(picture);
  const { state } = picture;
  const pause = pauseOf(picture);
  if (pause) {
    const seconds = Math.ceil((pause.until - now) / 1_000);
    if (seconds <= 0) return `${text}; trying again`;
    return `${text}; next try in ${seconds < 60 ? `${seconds} s` : minutesAndSeconds(seconds * 1_000)}`;
  }
  const isTimed = state.kind === "running" && ["queued", "starting", "throttled"].includes(state.progress.phase);
  return isTimed ? `${text}, ${minutesAndSeconds(now - state.since)}` : text;
}

/** How far along it is, from 0 to 1, if that is known. */
export function share({ state }: Picture): number | undefined {
  if (state.kind !== "running") return undefined;
  const { phase, step, steps } = state.progress;
  if (phase === "decoding" || phase === "done") return 1;
  return phase === "running" && step !== undefined && steps ? step / steps : undefined;
}

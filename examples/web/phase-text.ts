import type { Phase } from "layerdiffuse";
import type { Picture } from "./picture.ts";

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
export function phaseText({ state }: Picture): string {
  if (state.kind === "waiting") return navigator.onLine ? "waiting for its turn" : "waiting for the network";
  if (state.kind !== "running") return "";
  const { phase, step, steps } = state.progress;
  if (phase === "waiting" && !navigator.onLine) return "waiting for the network";
  return phase === "running" && step !== undefined && steps !== undefined ? `step ${step} of ${steps}` : words[phase];
}

/**
 * The same with the time so far, if there is nothing better to count (`…: cold start, 0:42`), or with the time until the
 * next try (`the service is busy; next try in 5 s`).
 */
export function phaseTextWithTime(picture: Picture, now: number): string {
  const text = phaseText(picture);
  const { state } = picture;
  if (state.kind === "running" && state.nextTry !== undefined) {
    const seconds = Math.ceil((state.nextTry - now) / 1_000);
    return seconds > 0 ? `${text}; next try in ${seconds} s` : `${text}; trying again`;
  }
  const isTimed = state.kind === "running" && ["queued", "starting", "throttled"].includes(state.progress.phase);
  return isTimed ? `${text}, ${minutesAndSeconds(now - state.since)}` : text;
}

function minutesAndSeconds(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** How far along it is, from 0 to 1, if that is known. */
export function share({ state }: Picture): number | undefined {
  if (state.kind !== "running") return undefined;
  const { phase, step, steps } = state.progress;
  if (phase === "decoding" || phase === "done") return 1;
  return phase === "running" && step !== undefined && steps ? step / steps : undefined;
}

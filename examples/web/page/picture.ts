import {
  type GenerateInput,
  type ImageJob,
  isLayerDiffuseError,
  type LayerDiffuseError,
  type Progress,
} from "layerdiffuse";

/** A finished image, as the page shows and keeps it. The browser may hold the blob on disk. */
export interface FinishedImage {
  readonly blob: Blob;
  readonly filename: string;
  readonly width: number;
  readonly height: number;
  readonly seed: number | undefined;
  readonly job: ImageJob;
}

/** The server has no room: when the page tries again, and why it waits. */
export interface Pause {
  /** Milliseconds since 1970. */
  readonly until: number;
  readonly error: LayerDiffuseError | undefined;
}

/** The state of an image. */
export type PictureState =
  | { readonly kind: "waiting"; readonly pause?: Pause }
  | { readonly kind: "running"; readonly progress: Progress; readonly since: number; readonly pause?: Pause }
  | { readonly kind: "done"; readonly image: FinishedImage; readonly url: string }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "cancelled" };

/** One image of the page, from the moment it was requested. */
export interface Picture {
  readonly input: GenerateInput;
  /** Milliseconds since 1970. The lines of one prompt differ by a fraction, so that it also orders the history. */
  readonly requestedAt: number;
  state: PictureState;
  /** Whether the browser has stored the finished image. */
  isStored?: boolean;
  /** The id of its job, once the server has it. */
  jobId?: string | undefined;
  /** Stops it while it runs. */
  stop?: AbortController | undefined;
}

/** Whether the image isn't finished yet. */
export function isPending({ state }: Picture): boolean {
  return state.kind === "waiting" || state.kind === "running";
}

/** The pause that the image is in, if the server has no room for it. */
export function pauseOf({ state }: Picture): Pause | undefined {
  return state.kind === "waiting" || state.kind === "running" ? state.pause : undefined;
}

/** What an image cost, in USD, if that is known. A job that failed costs money too. */
export function costOf({ state }: Picture): number | undefined {
  if (state.kind === "done") return state.image.job.cost;
  if (state.kind !== "failed" || !isLayerDiffuseError(state.error)) return undefined;
  return "cost" in state.error ? state.error.cost : undefined;
}

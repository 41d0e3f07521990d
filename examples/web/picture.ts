import type { GeneratedImage, GenerateInput, Progress } from "layerdiffuse";

/** The state of an image. */
export type PictureState =
  | { readonly kind: "waiting" }
  | {
      readonly kind: "running";
      readonly progress: Progress;
      readonly since: number;
      /** When the client tries again, while the server has no room for the image. */
      readonly nextTry?: number;
    }
  | { readonly kind: "done"; readonly image: GeneratedImage; readonly url: string }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "cancelled" };

/** One image of the session, from the moment it was requested. */
export interface Picture {
  readonly input: GenerateInput;
  state: PictureState;
  /** The id of its job, once the server has it. */
  jobId?: string | undefined;
  /** Stops it while it runs. */
  stop?: AbortController | undefined;
}

/** Whether the image isn't finished yet. */
export function isPending({ state }: Picture): boolean {
  return state.kind === "waiting" || state.kind === "running";
}

import type { GeneratedImage, GenerateInput, Progress } from "layerdiffuse";

/** Where a picture stands. */
export type PictureState =
  | { readonly kind: "waiting" }
  | { readonly kind: "running"; readonly progress: Progress; readonly since: number }
  | { readonly kind: "done"; readonly image: GeneratedImage; readonly url: string }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "cancelled" };

/** One picture of the session, from the moment it was asked for. */
export interface Picture {
  readonly input: GenerateInput;
  state: PictureState;
  /** Its job, once the server has it. */
  jobId?: string | undefined;
  /** Stops it while it runs. */
  stop?: AbortController | undefined;
}

/** Whether it is still to come. */
export function isPending({ state }: Picture): boolean {
  return state.kind === "waiting" || state.kind === "running";
}

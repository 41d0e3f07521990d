import { isLayerDiffuseError } from "layerdiffuse";
import type { Picture } from "./picture.ts";

/** What an image cost, in USD, if that is known. A job that failed costs money too. */
export function costOf({ state }: Picture): number | undefined {
  if (state.kind === "done") return state.image.job.cost;
  if (state.kind !== "failed" || !isLayerDiffuseError(state.error)) return undefined;
  return "cost" in state.error ? state.error.cost : undefined;
}

const cents = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const fractions = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 2 });

/** `$0.0012`: an image costs a fraction of a cent. */
export function inDollars(cost: number): string {
  return (cost < 0.1 ? fractions : cents).format(cost);
}

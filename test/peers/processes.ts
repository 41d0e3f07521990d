import { isRunning } from "../helpers/is-running.ts";
import { until } from "./until.ts";

export async function ended(...pids: number[]): Promise<void> {
  await until(`the end of the processes ${pids}`, () => !pids.some(isRunning));
}

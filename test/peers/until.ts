import { setTimeout } from "node:timers/promises";

/** How long a test waits for what must happen, in milliseconds; reached only when it does not. */
export const patience = 60_000;

/** Waits for what no event tells of, such as the end of another program's process. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + patience;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`This did not happen: ${what}.`);
    await setTimeout(10);
  }
}

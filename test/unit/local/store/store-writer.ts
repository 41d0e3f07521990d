// Writes jobs to the store of a folder until it is killed, and says after each that it is written.
import { writeSync } from "node:fs";
import { Store } from "../../../../src/local/store/store.ts";
import { storedJob } from "./stored-job.ts";

const [folder = "", user] = process.argv.slice(2);
// The superuser may write anywhere; only somebody else finds a folder closed.
if (user === "nobody" && process.geteuid?.() === 0) process.seteuid?.(65_534);

const store = Store.open(folder);
const output = JSON.stringify("x".repeat(300_000));
const first = (store.load().at(-1)?.order ?? -1) + 1;

for (let order = first; ; order++) {
  const job = storedJob({ order });
  store.create(job);
  writeSync(1, `created ${order}\n`);
  store.update({ ...job, status: "IN_PROGRESS", startedAt: 3, workerId: "w" });
  store.addChunks(job, ['"chunk"']);
  writeSync(1, `started ${order}\n`);
  store.end({ ...job, status: "COMPLETED", input: "", output });
  writeSync(1, `ended ${order}\n`);
  if (order % 3 === 0) {
    store.delete(job);
    writeSync(1, `deleted ${order}\n`);
  }
}

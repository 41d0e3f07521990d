// Puts each line of a file into the queue as a prompt: `node producer.ts prompts.txt`. Set REDIS_URL.
// A prompt's job and seed come from its text, so you can run this again: it adds what isn't in the queue yet.
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { queue, redis } from "./queue.ts";

const [, , path = "prompts.txt"] = process.argv;
const file = await open(path);
let jobs: Parameters<typeof queue.addBulk>[0] = [];
let count = 0;

async function add() {
  await queue.addBulk(jobs);
  count += jobs.length;
  jobs = [];
}

for await (const line of file.readLines()) {
  const prompt = line.trim();
  if (!prompt) continue;
  const digest = createHash("sha256").update(prompt).digest();
  const jobId = `image-${digest.toString("hex", 0, 12)}`;
  jobs.push({ name: "image", data: { prompt, seed: digest.readUInt32BE(12) }, opts: { jobId } });
  if (jobs.length === 1_000) await add();
}
await add();

console.log(`${count} prompts are in the queue.`);
await queue.close();
await redis.quit();

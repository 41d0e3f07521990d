// A job outlives the process that submitted it. Stop this program with Ctrl-C and start it again: it waits for the
// same job. The endpoint keeps a result for 30 minutes.
import { readFile, rm, writeFile } from "node:fs/promises";
import { LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse();
const id = await readFile("job.txt", "utf8").catch(() => undefined);

const job = id ? client.job(id) : await client.submit("a red apple, high quality");
await writeFile("job.txt", job.id);
console.log(`${id ? "Taken up again" : "Submitted"}: ${job.id}`);

const image = await job.result();
await image.save("output.png");
await rm("job.txt");

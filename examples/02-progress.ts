// Show what a job is doing: waiting in the queue, waiting for a cold start, or running step n of 20.
import { LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse();
const image = await client.generate("a red apple, high quality", {
  onProgress({ phase, elapsed, step, steps }) {
    const detail = step === undefined ? "" : `, step ${step} of ${steps}`;
    console.log(`${(elapsed / 1000).toFixed(1)} s: ${phase}${detail}`);
  },
});
await image.save("output.png");

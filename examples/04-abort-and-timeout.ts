// Stop with Ctrl-C, or when a time limit passes. Either way, the job is cancelled on the endpoint.
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse();
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

try {
  const image = await client.generate("a red apple, high quality", {
    signal: stop.signal,
    queueTimeout: 10 * 60_000, // until a worker takes the job; cold starts take minutes
    executionTimeout: 60_000, // once a worker has the job
  });
  await image.save("output.png");
} catch (error) {
  if (stop.signal.aborted) console.log("Stopped.");
  else if (isLayerDiffuseError(error, "queue_timeout")) console.log(`No worker came: ${error.reason}.`);
  else if (isLayerDiffuseError(error, "execution_timeout")) console.log("The worker took too long.");
  else throw error;
}

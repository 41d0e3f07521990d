// The local endpoint with its own artist. Prints how the job ended as JSON.
import { LayerDiffuse } from "layerdiffuse";
import { createLocalEndpoint } from "layerdiffuse/local";

const endpoint = createLocalEndpoint();
try {
  const baseUrl = await endpoint.listen();
  const client = new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl });
  const { width, height, hasAlpha, info } = await client.generate("a red apple");
  process.stdout.write(JSON.stringify({ width, height, hasAlpha, info }));
} catch ({ code, message }) {
  process.stdout.write(JSON.stringify({ code, message }));
} finally {
  await endpoint.close();
}

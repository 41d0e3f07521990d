// The local endpoint with its own artist. Prints how the job ended as JSON.
const { LayerDiffuse } = require("layerdiffuse");
const { createLocalEndpoint } = require("layerdiffuse/local");

async function main() {
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
}

main();

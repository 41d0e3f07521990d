// A user's program, as a script. Prints what it found as JSON.
const { isLayerDiffuseError, LayerDiffuse, VERSION } = require("layerdiffuse");
const { createLocalEndpoint } = require("layerdiffuse/local");
const manifest = require("layerdiffuse/package.json");

async function main() {
  const [, , picture] = process.argv;
  const endpoint = createLocalEndpoint({ worker: () => ({ status: "success", image_base64: picture }) });
  const baseUrl = await endpoint.listen();
  const client = new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl });
  const image = await client.generate("a red apple");
  const error = await client.generate(" ").catch((reason) => reason);
  await endpoint.close();

  const { bytes, width, height, hasAlpha } = image;
  const isKnown = isLayerDiffuseError(error, "invalid_input");
  process.stdout.write(
    JSON.stringify({ VERSION, manifest: manifest.version, bytes: bytes.length, width, height, hasAlpha, isKnown }),
  );
}

main();

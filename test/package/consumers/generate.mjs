// A user's program, as a module. Prints what it found as JSON.
import { isLayerDiffuseError, LayerDiffuse, VERSION } from "layerdiffuse";
import { createLocalEndpoint } from "layerdiffuse/local";
import manifest from "layerdiffuse/package.json" with { type: "json" };

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

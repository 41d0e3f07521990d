// Loads a bundle of page.js, generates an image on the endpoint at `argv[3]`, and prints what it found as JSON.
import { pathToFileURL } from "node:url";

const [, , bundle, baseUrl] = process.argv;
await import(pathToFileURL(bundle).href);
process.stdout.write(JSON.stringify(await globalThis.generate({ endpointId: "local", apiKey: "local", baseUrl })));

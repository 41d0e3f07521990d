// `npm start`: the first example, on your endpoint when the environment names one, else on a local one.
import { createLocalEndpoint } from "layerdiffuse/local";

const { env } = process;
const missing = ["RUNPOD_ENDPOINT_ID", "RUNPOD_API_KEY"].filter((name) => !env[name]);
const local = missing.length > 0 ? createLocalEndpoint() : undefined;

if (local) {
  env["RUNPOD_BASE_URL"] = await local.listen();
  env["RUNPOD_ENDPOINT_ID"] = "local";
  env["RUNPOD_API_KEY"] = "local";
  console.log(`No ${missing.join(", no ")}: a local endpoint with a stand-in artist draws the picture.`);
}
try {
  await import("../examples/01-generate.ts");
} finally {
  await local?.close();
}

// `npm start`: the first example, on your endpoint when the environment names one, else on a local one.
import { createLocalEndpoint } from "layerdiffuse/local";

const { env } = process;
const hasEndpoint = Boolean(env["RUNPOD_ENDPOINT_ID"] && env["RUNPOD_API_KEY"]);
const local = hasEndpoint ? undefined : createLocalEndpoint();

if (local) {
  env["RUNPOD_BASE_URL"] = await local.listen();
  env["RUNPOD_ENDPOINT_ID"] = "local";
  env["RUNPOD_API_KEY"] = "local";
  console.log("No RUNPOD_ENDPOINT_ID and RUNPOD_API_KEY: a local endpoint with a stand-in artist draws the picture.");
}
try {
  await import("../examples/01-generate.ts");
} finally {
  await local?.close();
}

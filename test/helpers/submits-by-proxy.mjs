// Submits a job by whatever proxy the environment names, and prints what its error says.
import { LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse({
  endpointId: "e1",
  apiKey: "rpa_7F3AQ0KLM",
  baseUrl: "https://service.test/v2",
  retries: 0,
});
try {
  await client.submit("a red apple");
} catch ({ code, arrived, submitted, retryable }) {
  process.stdout.write(JSON.stringify({ code, arrived, submitted, retryable }));
}

// A user's TypeScript. It is type-checked against the packed declarations, never run.
import {
  type GeneratedImage,
  type GenerateInput,
  isLayerDiffuseError,
  type Job,
  LayerDiffuse,
  type LayerDiffuseOptions,
  type OnProgress,
  type Phase,
  parseWebhook,
  RunpodEndpoint,
  VERSION,
} from "layerdiffuse";
import { createLocalEndpoint, type LocalEndpointOptions, type WorkerFunction } from "layerdiffuse/local";

const worker: WorkerFunction = async ({ input }, { progress, signal }) => {
  signal.throwIfAborted();
  progress({ step: 1, steps: 20 });
  return { status: "success", image_base64: String(input["prompt"]) };
};
const localOptions: LocalEndpointOptions = { worker, coldStart: 1_000, faults: [{ operation: "run", reset: true }] };

const options: LayerDiffuseOptions = { apiKey: async () => "key", headers: { "x-trace": "1" }, pricePerSecond: 0.0004 };
// @ts-expect-error an unknown option is a mistake
const misspelt: LayerDiffuseOptions = { endpointID: "abc" };

const version: string = VERSION;

export async function use(request: Request): Promise<GeneratedImage | undefined> {
  const endpoint = createLocalEndpoint(localOptions);
  const client = new LayerDiffuse({ ...options, ...misspelt, baseUrl: await endpoint.listen() });
  const input: GenerateInput = { prompt: `a red apple ${version}`, seed: 7, negativePrompt: "leaf" };
  const phases: Phase[] = [];
  try {
    const onProgress: OnProgress = ({ phase }) => {
      phases.push(phase);
    };
    const image = await client.generate(input, { onProgress, mode: "sync" });
    const bytes: Uint8Array = image.bytes;
    const cost: number | undefined = image.job.cost;
    await image.save(`${bytes.length}-${cost ?? 0}.png`);
    for await (const { index, image: one, error } of client.generateMany(["a", "b"])) {
      if (one) await one.save(`${index}.png`);
      else throw error;
    }
    const job: Job = await client.submit(input, { signal: AbortSignal.timeout(1_000) });
    for await (const { phase } of job.progress()) phases.push(phase);
    // @ts-expect-error an image has no such field
    image.pixels;
    return await job.result();
  } catch (error) {
    if (isLayerDiffuseError(error, "rate_limited")) {
      const after: number | undefined = error.retryAfter;
      throw new Error(`later: ${after}`);
    }
    if (isLayerDiffuseError(error) && error.code === "job_failed") throw error.cause;
    const event = await parseWebhook(request, { secret: "s" });
    throw event;
  } finally {
    await endpoint.close();
  }
}

/** Output typed by a Standard Schema. */
export async function transcribe(): Promise<string> {
  const endpoint = new RunpodEndpoint({
    output: {
      "~standard": { version: 1, vendor: "mine", validate: (value: unknown) => ({ value: { text: String(value) } }) },
    },
  });
  const { output } = await endpoint.runSync({ audio: "a.wav" });
  return output?.text ?? "";
}

// What each runtime does with the package, as plain JavaScript that asks for nothing but the web's own globals. Each
// scenario answers what happened as JSON; the test that started the runtime judges it.
import { isLayerDiffuseError, LayerDiffuse, LayerDiffuseError, parseWebhook } from "layerdiffuse";

const connect = (baseUrl, more = {}) => new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl, ...more });

/** The error a promise rejects with, as JSON. */
async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    const { name, code, message, arrived, status, retryable } = error;
    const isOurs = isLayerDiffuseError(error) && error instanceof LayerDiffuseError;
    return { name, code, message, arrived, status, retryable, isOurs };
  }
  return { name: "no error" };
}

async function until(condition, tries = 50) {
  for (let round = 0; round < tries; round++) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

export const scenarios = {
  async image({ steady }) {
    const phases = [];
    const onProgress = ({ phase }) => void phases.push(phase);
    const image = await connect(steady).generate({ prompt: "a red apple", seed: 7 }, { onProgress });
    const blob = image.blob();
    const file = image.file();
    const { bytes, type, filename, width, height, hasAlpha, seed, job } = image;
    return {
      bytes: btoa(String.fromCharCode(...bytes)),
      isBytes: bytes instanceof Uint8Array,
      kind: bytes.constructor.name,
      image: { type, filename, width, height, hasAlpha, seed },
      hasJob: typeof job.id === "string" && typeof job.executionTime === "number",
      blob: { size: blob.size, type: blob.type },
      file: { size: file.size, type: file.type, name: file.name },
      dataUrl: image.dataUrl(),
      phases,
    };
  },

  async sync({ steady }) {
    const { width } = await connect(steady).generate("a red apple", { mode: "sync" });
    return { width };
  },

  async abort({ cold }) {
    const client = connect(cold);
    const reason = new Error("changed my mind");
    const controller = new AbortController();
    let id;
    const onProgress = (progress) => {
      id = progress.jobId;
      if (progress.phase === "queued") controller.abort(reason);
    };
    const thrown = await client
      .generate("a red apple", { signal: controller.signal, onProgress })
      .catch((error) => error);
    const isCancelled = await until(async () => (await client.job(id).status()).status === "CANCELLED");
    return { isReason: thrown === reason, isCancelled };
  },

  async timeout({ cold }) {
    const client = connect(cold);
    let id;
    const onProgress = (progress) => {
      id = progress.jobId;
    };
    const error = await failure(client.generate("a red apple", { queueTimeout: 2_000, onProgress }));
    const isCancelled = await until(async () => (await client.job(id).status()).status === "CANCELLED");
    return { error, isCancelled };
  },

  async refused({ refused }) {
    return failure(connect(refused, { retries: 0 }).generate("a red apple"));
  },

  async unresolved() {
    return failure(connect("http://nowhere.invalid/v2", { retries: 0 }).generate("a red apple"));
  },

  async untrusted({ steady }) {
    return failure(connect(steady.replace("http:", "https:"), { retries: 0 }).generate("a red apple"));
  },

  async reset({ resetting }) {
    const client = connect(resetting);
    // So that the submission goes out on a connection that is open already: some runtimes send again by themselves then.
    await client.health();
    return failure(client.generate("a red apple"));
  },

  async cut({ cutting }) {
    return failure(connect(cutting).generate("a red apple"));
  },

  async silence({ hanging }) {
    // As long as `timeout` takes anyway: the endpoint must have seen the submission by then, on a busy computer too.
    return failure(connect(hanging, { requestTimeout: 2_000 }).generate("a red apple"));
  },

  async recovery({ flaky }) {
    const { width } = await connect(flaky).generate("a red apple");
    return { width };
  },

  async redirect({ redirecting }) {
    return failure(connect(redirecting, { retries: 0 }).health());
  },

  async many({ steady }) {
    const client = connect(steady);
    const done = [];
    async function* prompts() {
      for (const prompt of ["an apple", "a pear", " ", "a fig", "a plum"]) yield prompt;
    }
    for await (const { index, input, image, error } of client.generateMany(prompts(), { concurrency: 2 })) {
      done.push([index, input, image?.width ?? error.code]);
    }
    return { done: done.sort(([a], [b]) => a - b) };
  },

  async leave({ slow }) {
    const client = connect(slow);
    let count = 0;
    for await (const { error } of client.generateMany(["a", "b", "c", "d"], { concurrency: 2 })) {
      if (error) throw error;
      count++;
      break;
    }
    const isIdle = await until(async () => {
      const { jobs } = await client.health();
      return jobs.inQueue === 0 && jobs.inProgress === 0;
    });
    return { count, isIdle };
  },

  async later({ steady }) {
    const client = connect(steady);
    const { id } = await client.submit("a red apple");
    const job = client.job(id);
    const phases = [];
    for await (const { phase } of job.progress()) phases.push(phase);
    const { width } = await job.result();
    return { width, last: phases.at(-1) };
  },

  async webhook() {
    const body = JSON.stringify({ id: "job-1", status: "FAILED", error: "out of memory" });
    const call = (secret) => new Request(`https://example.com/hook?secret=${secret}`, { method: "POST", body });
    const { id, error } = await parseWebhook(call("right"), { secret: "right" });
    return { id, code: error?.code, wrong: await failure(parseWebhook(call("wrong"), { secret: "right" })) };
  },

  async secrecy({ steady }) {
    const client = connect(steady, { apiKey: "secret-key-0123456789" });
    const error = await client.health().catch((reason) => reason);
    const texts = [
      String(error),
      error.stack,
      JSON.stringify(error),
      JSON.stringify(client),
      JSON.stringify(error.cause),
    ];
    return { code: error.code, isSecret: !texts.join().includes("secret-key") };
  },

  async environment() {
    const { width } = await new LayerDiffuse().generate("a red apple");
    return { width };
  },

  async noEnvironment() {
    return failure(new LayerDiffuse().generate("a red apple"));
  },

  async save({ steady, file }) {
    const image = await connect(steady).generate("a red apple");
    return failure(image.save(file));
  },
};

/** Runs the scenarios named, all at once, and answers what each told, and when the last one was done. */
export async function play(names, plan) {
  const results = await Promise.all(
    names.map(async (name) => {
      try {
        return [name, await scenarios[name](plan)];
      } catch (error) {
        return [name, { crash: String(error?.stack ?? error) }];
      }
    }),
  );
  return { ...Object.fromEntries(results), end: { at: Date.now() } };
}

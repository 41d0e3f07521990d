import type { Session } from "../terminal/session.ts";
import { isLoopback } from "./listening.ts";
import { type LocalFlags, mostWorkers } from "./local-flags.ts";
import { agreeingCommand, assignment, sourcing } from "./shell.ts";

/** Says where the endpoint is and how to use it. To stdout goes only what a shell can take as it is. */
export async function announce(session: Session, url: string, flags: LocalFlags): Promise<void> {
  const settings = {
    RUNPOD_BASE_URL: url,
    // What the Python library calls it.
    RUNPOD_ENDPOINT_BASE_URL: url,
    RUNPOD_ENDPOINT_ID: "local",
    RUNPOD_API_KEY: "local",
  };
  if (session.isJson) {
    await session.answer(JSON.stringify(settings));
    return;
  }
  const { platform } = session.io;
  for (const line of introduction(platform, url, flags)) await session.note(line);
  for (const [name, value] of Object.entries(settings)) {
    await session.answer(platform === "win32" ? assignment(platform, name, value) : `export ${name}=${value}`);
  }
  for (const line of waysIn(url, flags)) await session.note(line);
}

function introduction(platform: string, url: string, flags: LocalFlags): string[] {
  return [
    `The local endpoint is at ${url}. ${jobsGo(platform, url, flags)}`,
    `Its status page: ${new URL("/", url)}`,
    ...(isLoopback(flags.host) ? [] : ['Every computer that can reach this one may use it: the key is "local".']),
    "\nIn another terminal:\n",
  ];
}

/** Who runs the jobs. */
function jobsGo(platform: string, url: string, flags: LocalFlags): string {
  const { worker, workers = mostWorkers, cwd } = flags;
  if (worker === false) {
    const { hostname, port } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, "");
    const printing = agreeingCommand("--print-env -q", { ...flags, host, port: Number(port) });
    return `It starts no worker.\nJobs wait for one: ${sourcing(platform, printing)}; python -u handler.py`;
  }
  if (workers === 0) return "With --workers 0 it starts no worker: jobs wait.";
  if (worker === undefined) return "No GPU, no account: a stand-in artist draws.";
  const where = cwd === undefined ? "" : `, in ${cwd}`;
  return `When jobs arrive, it starts up to ${workers} workers: ${worker}${where}`;
}

function waysIn(url: string, { worker }: LocalFlags): string[] {
  const prompt = worker === undefined ? "a red apple" : "hello";
  const job = `{ input: { prompt: "${prompt}" } }`;
  const access = `{ baseUrl: "${url}", endpointId: "local", apiKey: "local" }`;
  const sdk = `runpodSdk("local", { baseUrl: "${url}" }).endpoint("local")`;
  return [
    "\nThen one of:\n",
    ...(worker === undefined ? [`npx layerdiffuse generate "${prompt}"`] : []),
    `curl ${url}/local/runsync -H 'Authorization: Bearer local' -H 'Content-Type: application/json' -d '{"input":{"prompt":"${prompt}"}}'`,
    // Only the artist is sure to draw an image; a worker of the user's may make anything.
    worker === undefined
      ? `await new LayerDiffuse(${access}).generate("${prompt}") // import { LayerDiffuse } from "layerdiffuse"`
      : `await new RunpodEndpoint(${access}).runSync({ prompt: "${prompt}" }) // import { RunpodEndpoint } from "layerdiffuse"`,
    `await ${sdk}?.runSync(${job}) // import runpodSdk from "runpod-sdk"`,
    // The library reads its environment once, when it is imported.
    `import runpod; runpod.endpoint_url_base = "${url}"; runpod.Endpoint("local", api_key="local").run_sync({"prompt": "${prompt}"})`,
    "\nCtrl-C stops it.",
  ];
}

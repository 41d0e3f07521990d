import type { Session } from "../terminal/session.ts";
import { isLoopback } from "./listening.ts";
import { type LocalFlags, mostWorkers } from "./local-flags.ts";
import { agreeingCommand, assignment, sourcing } from "./shell.ts";

/** Says that the endpoint is there, and how to reach it: on stdout only what a shell takes as it is. */
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
    `A local endpoint, at ${url}. ${jobsGo(platform, url, flags)}`,
    `Its jobs and workers: ${new URL("/", url)}`,
    ...(isLoopback(flags.host) ? [] : ['Every computer that reaches this one may use it: the key is "local".']),
    "\nIn another terminal:\n",
  ];
}

/** What runs the jobs. */
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
  return `When jobs come it starts workers, ${workers} at most: ${worker}${where}`;
}

function waysIn(url: string, { worker }: LocalFlags): string[] {
  const prompt = worker === undefined ? "a red apple" : "hello";
  const job = `{ input: { prompt: "${prompt}" } }`;
  const access = `{ baseUrl: "${url}", endpointId: "local", apiKey: "local" }`;
  const sdk = `runpodSdk("local", { baseUrl: "${url}" }).endpoint("local")`;
  return [
    "\nthen one of:\n",
    ...(worker === undefined ? [`npx layerdiffuse generate "${prompt}"`] : []),
    `curl ${url}/local/runsync -H 'Authorization: Bearer local' -H 'Content-Type: application/json' -d '{"input":{"prompt":"${prompt}"}}'`,
    // Only the artist is sure to draw: what a worker of one's own makes, nobody here knows.
    worker === undefined
      ? `await new LayerDiffuse(${access}).generate("${prompt}") // import { LayerDiffuse } from "layerdiffuse"`
      : `await new RunpodEndpoint(${access}).runSync({ prompt: "${prompt}" }) // import { RunpodEndpoint } from "layerdiffuse"`,
    `await ${sdk}?.runSync(${job}) // import runpodSdk from "runpod-sdk"`,
    // The library reads its environment once, when it is imported.
    `import runpod; runpod.endpoint_url_base = "${url}"; runpod.Endpoint("local", api_key="local").run_sync({"prompt": "${prompt}"})`,
    "\nCtrl-C stops it.",
  ];
}

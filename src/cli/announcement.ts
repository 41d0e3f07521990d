import { isLoopback } from "./local-address.ts";
import type { LocalFlags } from "./local-flags.ts";
import { mostWorkers } from "./local-flags.ts";
import type { Session } from "./session.ts";
import { assignment, sourcing } from "./shell.ts";

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
  for (const line of waysIn(url)) await session.note(line);
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
function jobsGo(platform: string, url: string, { worker, workers = mostWorkers, cwd }: LocalFlags): string {
  if (worker === undefined) return "No GPU, no account: a stand-in artist draws.";
  if (worker === false) {
    const printing = ["npx layerdiffuse local --print-env -q", ...addressFlags(new URL(url))].join(" ");
    return `It starts no worker.\nJobs wait for one: ${sourcing(platform, printing)}; python -u handler.py`;
  }
  const where = cwd === undefined ? "" : `, in ${cwd}`;
  return `When jobs come it starts workers, ${workers} at most: ${worker}${where}`;
}

/** Where it listens, as flags, as far as that is not the default. */
function addressFlags({ hostname, port }: URL): string[] {
  const host = hostname.replace(/^\[|\]$/g, "");
  return [...(host === "127.0.0.1" ? [] : [`--host ${host}`]), ...(port === "8765" ? [] : [`--port ${port}`])];
}

function waysIn(url: string): string[] {
  const body = `'{"input":{"prompt":"a red apple"}}'`;
  const client = `new LayerDiffuse({ baseUrl: "${url}", endpointId: "local", apiKey: "local" })`;
  const sdk = `runpodSdk("local", { baseUrl: "${url}" }).endpoint("local")`;
  return [
    "\nthen one of:\n",
    'layerdiffuse generate "a red apple"',
    `curl ${url}/local/runsync -H 'Authorization: Bearer local' -H 'Content-Type: application/json' -d ${body}`,
    `await ${client}.generate("a red apple") // import { LayerDiffuse } from "layerdiffuse"`,
    `await ${sdk}?.runSync({ input: { prompt: "a red apple" } }) // import runpodSdk from "runpod-sdk"`,
    'runpod.Endpoint("local", api_key="local").run_sync({"prompt": "a red apple"}) # import runpod',
    "\nCtrl-C stops it.",
  ];
}

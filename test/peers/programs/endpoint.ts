// An endpoint whose worker has left a child behind and is in the middle of a job; prints their processes and stays.
import { createLocalEndpoint } from "layerdiffuse/local";

const endpoint = createLocalEndpoint({ worker: { command: process.argv.slice(2) }, maxWorkers: 1 });
const baseUrl = await endpoint.listen();

async function submit(operation: string, input: object): Promise<{ output: Record<string, number[] | number> }> {
  const response = await fetch(`${baseUrl}/local/${operation}`, {
    method: "POST",
    headers: { authorization: "Bearer local" },
    body: JSON.stringify({ input }),
  });
  return response.json();
}

const { pid, pings } = (await submit("runsync", { do: "echo" })).output;
const { child } = (await submit("runsync", { do: "spawn" })).output;
await submit("run", { do: "hold" });
process.stdout.write(`${JSON.stringify({ pids: [pid, pings, child].flat() })}\n`);

// From a job's end on the worker to its image's bytes in hand: ours, the official client, bare fetch.
import { LayerDiffuse } from "layerdiffuse";
import runpodSdk from "runpod-sdk";
import { startServer } from "./start-server.ts";
import { median } from "./statistics.ts";

const now = () => performance.timeOrigin + performance.now();

interface WireResult {
  status: string;
  output: { image_base64: string; info: { endedAt: number } };
}

export interface Latency {
  rounds: number;
  pngBytes: number;
  /** Medians in milliseconds. */
  ours: number;
  official: number;
  bare: number;
  /** Medians of the ratios round by round. */
  oursToBare: number;
  officialToBare: number;
  oursToOfficial: number;
}

export async function measureLatency(rounds = 120, pngBytes = 2_000_000): Promise<Latency> {
  const server = await startServer(pngBytes, 120);
  const { baseUrl } = server;
  const client = new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl });
  const official = runpodSdk("local", { baseUrl })?.endpoint("local");
  if (!official) throw new Error("The official client gave no endpoint.");
  const headers = { authorization: "Bearer local", "content-type": "application/json" };

  const ours = async () => {
    const image = await client.generate("an apple");
    const end = now();
    return end - Number(image.info["endedAt"]);
  };
  const theirs = async () => {
    const { id } = await official.run({ input: { prompt: "an apple" } });
    const result = (await official.statusSync(id, 60_000)) as WireResult;
    const bytes = Buffer.from(result.output.image_base64, "base64");
    const end = now();
    if (bytes.length < pngBytes) throw new Error("The official client's image is cut short.");
    return end - result.output.info.endedAt;
  };
  const bare = async () => {
    const body = JSON.stringify({ input: { prompt: "an apple" } });
    const run = await fetch(`${baseUrl}/local/run`, { method: "POST", headers, body });
    const { id } = (await run.json()) as { id: string };
    const held = await fetch(`${baseUrl}/local/status-sync/${id}?wait=60000`, { headers });
    const result = (await held.json()) as WireResult;
    const bytes = Buffer.from(result.output.image_base64, "base64");
    const end = now();
    if (bytes.length < pngBytes) throw new Error("The bare image is cut short.");
    return end - result.output.info.endedAt;
  };

  // The official client prints a line for each poll.
  const { log } = console;
  console.log = () => {};
  try {
    const runs = { ours, theirs, bare };
    const times: Record<keyof typeof runs, number[]> = { ours: [], theirs: [], bare: [] };
    const orders = [
      ["ours", "theirs", "bare"],
      ["theirs", "bare", "ours"],
      ["bare", "ours", "theirs"],
      ["ours", "bare", "theirs"],
      ["bare", "theirs", "ours"],
      ["theirs", "ours", "bare"],
    ] as const;
    for (let round = -5; round < rounds; round++) {
      // All six orders in turn, so that nobody always follows the same other.
      const [first, second, third] = orders[(round + 30) % orders.length] ?? orders[0];
      const order = [first, second, third];
      for (const name of order) {
        const time = await runs[name]();
        if (round >= 0) times[name].push(time);
      }
    }
    const ratio = (of: number[], to: number[]) => median(of.map((time, round) => time / (to[round] ?? 1)));
    return {
      rounds,
      pngBytes,
      ours: median(times.ours),
      official: median(times.theirs),
      bare: median(times.bare),
      oursToBare: ratio(times.ours, times.bare),
      officialToBare: ratio(times.theirs, times.bare),
      oursToOfficial: ratio(times.ours, times.theirs),
    };
  } finally {
    console.log = log;
    server.stop();
  }
}

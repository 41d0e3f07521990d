// Requests for one job over a cold start of 150 s, on a simulated clock, in process.
import { clientOver } from "../src/client/layer-diffuse.ts";
import { createLocalEndpoint } from "../src/local/index.ts";
import { ManualClock } from "../test/helpers/manual-clock.ts";
import { makePng } from "../test/helpers/png.ts";

export interface ColdStart {
  quiet: number;
  watched: number;
}

export async function countRequests(coldStart = 150_000): Promise<ColdStart> {
  const count = async (isWatched: boolean) => {
    const clock = new ManualClock();
    const image_base64 = makePng().toString("base64");
    const worker = async () => {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 5_000));
      return { image_base64 };
    };
    const endpoint = createLocalEndpoint({ clock, coldStart, worker });
    const internals = { clock, random: Math.random };
    const client = clientOver({ endpointId: "local", apiKey: "local", fetch: endpoint.fetch }, internals);
    await clock.drive(client.generate("an apple", isWatched ? { onProgress: () => {} } : {}));
    await endpoint.close();
    return endpoint.requests.length;
  };
  return { quiet: await count(false), watched: await count(true) };
}

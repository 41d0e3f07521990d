import { createLocalEndpoint, type Fault, type LocalEndpoint, type WorkerFunction } from "layerdiffuse/local";
import { closedUrl } from "../helpers/http-server.ts";
import { makePng } from "../helpers/png.ts";

export const picture = makePng();

const draw: WorkerFunction = () => ({
  status: "success",
  filename: "alpha_1.png",
  image_base64: picture.toString("base64"),
});

const lost = (effect: object): { faults: Fault[] } => ({
  faults: [{ operation: "run", when: "after", ...effect } as Fault],
});

/** One endpoint for each kind of trouble, each on a port of its own. */
export interface Endpoints {
  /** Base URLs by name, and what else the scenarios need; goes to the runtime as JSON. */
  plan: Record<string, string>;
  of(name: string): LocalEndpoint;
  close(): Promise<void>;
}

export async function openEndpoints(file: string): Promise<Endpoints> {
  const slowly: WorkerFunction = async (job, context) => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    return await draw(job, context);
  };
  const endpoints: Record<string, LocalEndpoint> = {
    steady: createLocalEndpoint({ worker: draw }),
    cold: createLocalEndpoint({ worker: draw, coldStart: 600_000 }),
    slow: createLocalEndpoint({ worker: slowly, maxWorkers: 1 }),
    resetting: createLocalEndpoint({ worker: draw, ...lost({ reset: true }) }),
    cutting: createLocalEndpoint({ worker: draw, ...lost({ cut: true }) }),
    hanging: createLocalEndpoint({ worker: draw, ...lost({ hang: true }) }),
    flaky: createLocalEndpoint({
      worker: draw,
      faults: [
        { operation: "status-sync", reset: true },
        { operation: "status-sync", cut: true },
        { operation: "status-sync", respond: { status: 502, body: "<html>Bad gateway</html>" } },
      ],
    }),
  };
  const plan: Record<string, string> = { file, refused: `${await closedUrl()}/v2` };
  for (const [name, endpoint] of Object.entries(endpoints)) plan[name] = await endpoint.listen();
  const elsewhere = { status: 307, headers: { location: `${plan["steady"]}/local/health` } };
  const redirecting = createLocalEndpoint({ faults: [{ operation: "health", respond: elsewhere }] });
  endpoints["redirecting"] = redirecting;
  plan["redirecting"] = await redirecting.listen();
  return {
    plan,
    of(name) {
      const endpoint = endpoints[name];
      if (!endpoint) throw new Error(`There is no endpoint called ${name}.`);
      return endpoint;
    },
    async close() {
      await Promise.all(Object.values(endpoints).map((endpoint) => endpoint.close()));
    },
  };
}

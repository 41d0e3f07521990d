import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import { snippetsOf } from "../helpers/markdown.ts";
import { type Nginx, startNginx } from "../helpers/nginx.ts";
import { newFolder, type Program, startNode } from "../helpers/programs.ts";
import { freePort } from "../helpers/redis-server.ts";
import { serveFetch } from "../helpers/serve-fetch.ts";

/** The blocks of docs/scaling.md, word for word: what the page says is what runs here. */
function pageCode(isIt: (code: string) => boolean): string {
  const found = snippetsOf("docs/scaling.md").filter(({ code }) => isIt(code));
  if (found.length !== 1) throw new Error(`docs/scaling.md has ${found.length} such blocks.`);
  return found[0]?.code ?? "";
}

export const pageOfRedis = (): string => pageCode((code) => code.includes("redisJobs(") && code.includes("handler ="));
export const pageOfS3 = (): string => pageCode((code) => code.includes("s3Driver("));

/** The page's configuration with the addresses of this test. Where there are fewer instances, the first is there again. */
export function behindNginx(port: number, instances: readonly number[]): string {
  return pageCode((code) => code.includes("upstream layerdiffuse"))
    .replace("listen 80;", `listen 127.0.0.1:${port};`)
    .replace(/10\.0\.0\.(\d):3000/g, (_, number) => `127.0.0.1:${instances[Number(number) - 1] ?? instances[0]}`);
}

/** What a process has used until now: bytes of memory at most, and milliseconds of the processor. Linux. */
export interface Usage {
  peakRss: number;
  cpuMs: number;
}

/** A server in a process of its own, always on the same port. */
export class Instance {
  readonly port: number;
  readonly #launch: () => Program;
  readonly #ready: string;
  #program: Program | undefined;
  /** Of its processes that have ended, but for what their start took. */
  #used: Usage = { peakRss: 0, cpuMs: 0 };
  #cpuAtStart = 0;

  /**
   * @param launch starts a program on the port
   * @param ready what it says once it takes connections
   */
  constructor(port: number, launch: () => Program, ready: string) {
    this.port = port;
    this.#launch = launch;
    this.#ready = ready;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.#program = this.#launch();
    await this.#program.said(this.#ready);
    this.#cpuAtStart = this.#usage().cpuMs;
  }

  /** As `kill -9` does. */
  async kill(): Promise<void> {
    this.#used = this.used;
    await this.#end("SIGKILL");
  }

  /** Asks it to stop, and answers how it ended and what it said. */
  async stop(): Promise<{ code: number | null; stderr: string } | undefined> {
    return await this.#end("SIGTERM");
  }

  /** All its processes together. */
  get used(): Usage {
    const { peakRss, cpuMs } = this.#usage();
    return {
      peakRss: Math.max(this.#used.peakRss, peakRss),
      cpuMs: this.#used.cpuMs + Math.max(0, cpuMs - this.#cpuAtStart),
    };
  }

  async #end(signal: NodeJS.Signals) {
    const program = this.#program;
    this.#program = undefined;
    program?.child.kill(signal);
    return await program?.ended;
  }

  #usage(): Usage {
    const pid = this.#program?.child.pid;
    if (pid === undefined || process.platform !== "linux") return { peakRss: 0, cpuMs: 0 };
    try {
      const [, peak = ""] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      return { peakRss: Number(peak) * 1024, cpuMs: (Number(fields[11]) + Number(fields[12])) * 10 };
    } catch {
      // It has ended.
      return { peakRss: 0, cpuMs: 0 };
    }
  }
}

export interface Cluster extends AsyncDisposable {
  readonly endpoint: LocalEndpoint;
  readonly instances: readonly Instance[];
  readonly nginx: Nginx;
}

export interface ClusterOptions {
  endpoint: LocalEndpointOptions;
  /** Sees each request to the endpoint, and may answer in its place. */
  watch?: (request: Request, pass: () => Promise<Response>) => Promise<Response>;
  /** Of instances. Default: 3. */
  count?: number;
  /** What an instance says once it takes connections. Default: `Listening`. */
  ready?: string;
  /** Starts an instance. `url` is where nginx is. */
  launch(settings: { port: number; url: string; folder: string; env: Record<string, string> }): Program;
}

/** nginx before several instances before one endpoint. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { watch = (_, pass) => pass(), count = 3, ready = "Listening", launch } = options;
  await using stack = new AsyncDisposableStack();
  const folder = newFolder();
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const endpoint = createLocalEndpoint(options.endpoint);
  stack.defer(() => endpoint.close());
  const answer = async (request: Request) => {
    try {
      return await watch(request, () => endpoint.fetch(request));
    } catch (error) {
      if (!request.signal.aborted) throw error;
      // Nobody gets it.
      return new Response(null, { status: 499 });
    }
  };
  const front = await serveFetch(answer);
  stack.defer(() => front.close());
  const ports: number[] = [];
  for (let index = 0; index < count; index++) ports.push(await freePort());
  const nginx = stack.use(await startNginx((port) => behindNginx(port, ports)));
  const { url } = nginx;
  const env = { RUNPOD_ENDPOINT_ID: "local", RUNPOD_API_KEY: "local", RUNPOD_BASE_URL: `${front.url}/v2` };
  const instances = ports.map((port) => new Instance(port, () => launch({ port, url, folder, env }), ready));
  stack.defer(async () => {
    await Promise.all(instances.map((instance) => instance.kill()));
  });
  await Promise.all(instances.map((instance) => instance.start()));
  const owned = stack.move();
  return { endpoint, instances, nginx, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Has something end with the test that runs. */
export function endsWithTest<Resource extends AsyncDisposable>(resource: Resource): Resource {
  onTestFinished(() => resource[Symbol.asyncDispose]());
  return resource;
}

const program = fileURLToPath(new URL("programs/instance.ts", import.meta.url));

/** Launches instances that run a page's code, which exports `handler`. */
export function launchPage(code: string, env: Record<string, string>): ClusterOptions["launch"] {
  return ({ port, url, folder, env: own }) => {
    const file = join(folder, "handler.ts");
    writeFileSync(file, code);
    return startNode(program, { cwd: folder, env: { ...own, ...env, PUBLIC_URL: url } }, file, String(port));
  };
}

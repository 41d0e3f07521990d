import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import { snippetsOf } from "../helpers/markdown.ts";
import { type Nginx, startNginx } from "../helpers/nginx.ts";
import { newFolder, type Program, startNode } from "../helpers/programs.ts";
import { freePort } from "../helpers/redis-server.ts";

const program = fileURLToPath(new URL("programs/instance.ts", import.meta.url));

/** The blocks of docs/scaling.md, word for word: what the page says is what runs here. */
export function pageCode(isIt: (code: string) => boolean): string {
  const found = snippetsOf("docs/scaling.md").filter(({ code }) => isIt(code));
  if (found.length !== 1) throw new Error(`docs/scaling.md has ${found.length} such blocks.`);
  return found[0]?.code ?? "";
}

/** Has something ended with the test. */
export function endsWithTest<Resource extends AsyncDisposable>(resource: Resource): Resource {
  onTestFinished(() => resource[Symbol.asyncDispose]());
  return resource;
}

/** An instance of the proxy in a process of its own, always on the same port. */
export class Instance {
  readonly port: number;
  readonly #file: string;
  readonly #env: Record<string, string>;
  #program: Program | undefined;

  constructor(port: number, file: string, env: Record<string, string>) {
    this.port = port;
    this.#file = file;
    this.#env = env;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.#program = startNode(program, { cwd: newFolder(), env: this.#env }, this.#file, String(this.port));
    await this.#program.said("Listening");
  }

  /** As `kill -9` does. */
  async kill(): Promise<void> {
    this.#program?.child.kill("SIGKILL");
    await this.#program?.ended;
  }
}

export interface Cluster {
  endpoint: LocalEndpoint;
  instances: readonly Instance[];
  nginx: Nginx;
}

export interface ClusterOptions {
  /** The code of an instance, which exports `handler`. */
  code: string;
  env: Record<string, string>;
  endpoint: LocalEndpointOptions;
  count?: number;
}

/** nginx before several instances before one endpoint, all ended with the test. */
export async function startCluster({ code, env, endpoint: options, count = 3 }: ClusterOptions): Promise<Cluster> {
  const endpoint = createLocalEndpoint(options);
  onTestFinished(() => endpoint.close());
  const baseUrl = await endpoint.listen();
  const file = join(newFolder(), "handler.ts");
  writeFileSync(file, code);
  const ports: number[] = [];
  for (let index = 0; index < count; index++) ports.push(await freePort());
  const nginx = endsWithTest(await startNginx((port) => behindNginx(port, ports)));
  const all = { ...env, RUNPOD_ENDPOINT_ID: "local", RUNPOD_API_KEY: "local", RUNPOD_BASE_URL: baseUrl };
  const instances = ports.map((port) => new Instance(port, file, { ...all, PUBLIC_URL: nginx.url }));
  onTestFinished(async () => void (await Promise.all(instances.map((instance) => instance.kill()))));
  await Promise.all(instances.map((instance) => instance.start()));
  return { endpoint, instances, nginx };
}

/** The page's configuration with the addresses of this test. Where there are fewer instances, the first is there again. */
export function behindNginx(port: number, instances: readonly number[]): string {
  return pageCode((code) => code.includes("upstream layerdiffuse"))
    .replace("listen 80;", `listen 127.0.0.1:${port};`)
    .replace(/10\.0\.0\.(\d):3000/g, (_, number) => `127.0.0.1:${instances[Number(number) - 1] ?? instances[0]}`);
}

/** Asks until it is so. */
export async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}

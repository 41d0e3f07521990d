import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";
import { bundleForWorkerd } from "./project.ts";

/** What a scenario told: see programs/scenarios.mjs. */
export type Told = Record<string, unknown>;

export interface Runtime {
  name: string;
  /** Whether an error tells a connection that never came to be from one that broke. */
  knowsRefusals: boolean;
  hasFiles: boolean;
  hasEnvironment: boolean;
  /** The class of the image's bytes. */
  bytes: "Buffer" | "Uint8Array";
  /** Plays the scenarios named, in a folder that holds the programs and the installed package. */
  play(folder: string, names: readonly string[], plan: Record<string, string>): Promise<Record<string, Told>>;
}

const full = { knowsRefusals: true, hasFiles: true, hasEnvironment: true, bytes: "Buffer" } as const;

export const runtimes: Runtime[] = [
  { name: "Node 22", ...full, play: (...what) => playWith(programOf("Node 22"), ["main.mjs"], ...what) },
  { name: "Node 24", ...full, play: (...what) => playWith(programOf("Node 24"), ["main.mjs"], ...what) },
  { name: "Bun", ...full, play: (...what) => playWith(programOf("Bun"), ["main.mjs"], ...what) },
  {
    name: "Deno",
    ...full,
    play: (folder, names, plan) => {
      const rights = [
        "--allow-net=127.0.0.1,nowhere.invalid",
        "--allow-env=RUNPOD_API_KEY,RUNPOD_ENDPOINT_ID,RUNPOD_BASE_URL",
        `--allow-write=${plan["file"]}`,
      ];
      return playWith(programOf("Deno"), ["run", "--no-prompt", ...rights, "main.mjs"], folder, names, plan);
    },
  },
  {
    name: "Deno with no right but the network",
    ...full,
    hasFiles: false,
    hasEnvironment: false,
    play: (...what) =>
      playWith(programOf("Deno"), ["run", "--no-prompt", "--allow-net=127.0.0.1,nowhere.invalid", "main.mjs"], ...what),
  },
  {
    name: "workerd",
    knowsRefusals: false,
    hasFiles: false,
    hasEnvironment: false,
    bytes: "Uint8Array",
    play: (...what) => playWithWorkerd([], ...what),
  },
  {
    name: "workerd with nodejs_compat",
    knowsRefusals: false,
    // It has a file system, but one that ends with the request.
    hasFiles: false,
    hasEnvironment: true,
    bytes: "Buffer",
    play: (...what) => playWithWorkerd(["nodejs_compat"], ...what),
  },
  {
    name: "a runtime without process and Buffer",
    knowsRefusals: true,
    hasFiles: false,
    hasEnvironment: false,
    bytes: "Uint8Array",
    play: (...what) => playWith(programOf("Node 24"), ["bare.mjs"], ...what),
  },
];

function environment(plan: Record<string, string>): Record<string, string> {
  return { RUNPOD_API_KEY: " local\n", RUNPOD_ENDPOINT_ID: "local", RUNPOD_BASE_URL: plan["steady"] ?? "" };
}

/** A program that takes the scenarios' names and the plan as its last two arguments, and prints JSON and nothing else. */
export async function playWith(
  program: string,
  args: readonly string[],
  folder: string,
  names: readonly string[],
  plan: Record<string, string>,
): Promise<Record<string, Told>> {
  const env = { ...environment(plan), DENO_DIR: join(folder, ".deno"), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" };
  const all = [...args, JSON.stringify(names), JSON.stringify(plan)];
  const { code, stdout, stderr } = await run(program, all, { cwd: folder, env });
  if (code !== 0 || stderr !== "") throw new Error(`${program} ended with ${code}\n${stdout}\n${stderr}`);
  return read(stdout);
}

async function playWithWorkerd(
  flags: string[],
  folder: string,
  names: readonly string[],
  plan: Record<string, string>,
): Promise<Record<string, Told>> {
  const file = join(folder, `${flags.join("-") || "plain"}.capnp`);
  const bindings = { names: JSON.stringify(names), plan: JSON.stringify(plan), ...environment(plan) };
  writeFileSync(file, workerdConfig(folder, "worker.mjs", flags, bindings));
  const { code, stdout, stderr } = await run(programOf("workerd"), ["test", file], { cwd: folder });
  // Workerd logs each broken connection, so its stderr is no sign of anything.
  if (code !== 0) throw new Error(`workerd ended with ${code}\n${stdout}\n${stderr}`);
  return read(stdout);
}

/** What a program told; how long it went on after that is added. */
function read(stdout: string): Record<string, Told> {
  const told = JSON.parse(stdout) as Record<string, Told>;
  const lingered = Date.now() - Number(told["end"]?.["at"]);
  return { ...told, end: { lingered } };
}

/** A worker of a folder's program `main`, as Cap'n Proto text. */
export function workerdConfig(
  folder: string,
  main: string,
  flags: readonly string[],
  bindings: Record<string, string>,
): string {
  const text = (value: unknown) => JSON.stringify(value);
  const bound = Object.entries(bindings).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`);
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const main :Workerd.Worker = (
  modules = [(name = "${main}", esModule = embed ${text(bundleForWorkerd(folder, main))})],
  compatibilityDate = "2026-01-01",
  compatibilityFlags = ${text(flags)},
  bindings = [${bound.join(", ")}],
);
`;
}

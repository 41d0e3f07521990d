// `npm run demo:web`: the page of examples/web over a local endpoint, with no account and no GPU. The stand-in artist
// takes its time, so that there is something to see: eight seconds for a cold start, a quarter of one for a step.
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { createLocalEndpoint } from "layerdiffuse/local";
import { serveWeb } from "../examples/web/server.ts";
// A slow artist is no option of the package: only this demo wants one.
import { createArtist } from "../src/local/artist/artist.ts";

const { values } = parseArgs({
  options: { port: { type: "string", default: "8780" }, "no-open": { type: "boolean", default: false } },
});

const endpoint = createLocalEndpoint({
  worker: createArtist({ stepTime: 250 }),
  coldStart: 8_000,
  maxWorkers: 2,
  idleTimeout: 30_000,
});

/** Opens the page in the browser. Where there is none, the address above is enough. */
function open(url: string): void {
  const [program = "", ...parameters] = {
    darwin: ["open", url],
    win32: ["cmd", "/c", "start", "", url],
    other: ["xdg-open", url],
  }[process.platform === "darwin" || process.platform === "win32" ? process.platform : "other"];
  spawn(program, parameters, { stdio: "ignore", detached: true })
    .on("error", () => {})
    .unref();
}

try {
  const baseUrl = await endpoint.listen();
  const upstream = { endpointId: "local", apiKey: "local", baseUrl };
  // A price to look at: nothing here costs anything.
  const options = { ...upstream, limits: { ratePerMinute: 120 }, pricePerSecond: 0.000_31 };
  const web = await serveWeb(options, Number(values.port)).catch((cause: unknown) => {
    const isTaken = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    throw isTaken ? new Error(`Port ${values.port} is taken. Pass another: npm run demo:web -- --port 0`) : cause;
  });
  console.log(`The page:           ${web.url}`);
  console.log(`The local endpoint: ${new URL("/", baseUrl)}`);
  console.log("Ctrl-C ends both.");
  if (process.stdout.isTTY && !values["no-open"]) open(web.url);
  await new Promise<void>((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => resolve());
  });
  await web.close();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await endpoint.close();
}

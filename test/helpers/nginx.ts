import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newFolder } from "./programs.ts";
import { freePort } from "./redis-server.ts";

/** An `nginx` of the test's own, on a port and in a folder of its own. */
export interface Nginx extends AsyncDisposable {
  readonly url: string;
}

/** What a page's configuration leaves to the system: files in a folder of the test's, and no process in the background. */
function frame(folder: string, configuration: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  return [
    // As root, nginx would change to a user that may not write to the folder.
    ...(process.getuid?.() === 0 ? ["user root;"] : []),
    `daemon off; pid ${join(folder, "nginx.pid")}; error_log ${join(folder, "error.log")} warn;`,
    "events { worker_connections 4096; }",
    `http { access_log off; ${temporary.join(" ")}`,
    configuration,
    "}",
  ].join("\n");
}

/**
 * Starts the `nginx` on the PATH.
 *
 * @param configuration what stands in `http { … }`, with the addresses that `url` and the instances have
 */
export async function startNginx(configuration: (port: number) => string): Promise<Nginx> {
  const folder = newFolder();
  const port = await freePort();
  const file = join(folder, "nginx.conf");
  writeFileSync(file, frame(folder, configuration(port)));
  const child = spawn("nginx", ["-c", file, "-e", join(folder, "error.log")], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: `${process.env["PATH"]}:/usr/sbin` },
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      log += text;
    });
  }
  const closed = once(child, "close");
  const killAtExit = () => child.kill("SIGTERM");
  process.once("exit", killAtExit);
  const url = `http://127.0.0.1:${port}`;
  const failed = closed.then(([code]) => {
    throw new Error(`nginx ended with ${code}:\n${log}`);
  });
  // It says nothing when it is ready.
  const answers = async () => {
    while (
      !(await fetch(url).then(
        () => true,
        () => false,
      ))
    )
      await new Promise((resolve) => setTimeout(resolve, 20));
  };
  await Promise.race([answers(), failed]);
  failed.catch(() => {});
  return {
    url,
    async [Symbol.asyncDispose]() {
      process.off("exit", killAtExit);
      child.kill("SIGTERM");
      await closed;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

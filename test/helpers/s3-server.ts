import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { AwsClient } from "aws4fetch";
import { freePort } from "./redis-server.ts";

const program = fileURLToPath(new URL("../scale/.venv/bin/moto_server", import.meta.url));

/** An S3 server of the test's own: moto, which keeps everything in its memory. */
export interface S3Server extends AsyncDisposable {
  readonly url: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** The keys of all objects, in order. */
  keys(): Promise<string[]>;
  read(key: string): Promise<Buffer>;
}

/** Starts it on a port of its own, with one empty bucket. `npm run test:scale` makes its environment. */
export async function startS3(bucket = "images"): Promise<S3Server> {
  const port = await freePort();
  const child = spawn(program, ["--host", "127.0.0.1", "--port", String(port)], { stdio: ["ignore", "pipe", "pipe"] });
  const killAtExit = () => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  await isListening(child);
  const url = `http://127.0.0.1:${port}`;
  const keys = { accessKeyId: "test", secretAccessKey: "test" };
  const client = new AwsClient({ ...keys, service: "s3", region: "us-east-1" });
  const ask = async (path: string, init: RequestInit = {}) => {
    const response = await client.fetch(`${url}/${bucket}${path}`, init);
    if (!response.ok) throw new Error(`${init.method ?? "GET"} ${path} answered ${response.status}.`);
    return response;
  };
  await ask("", { method: "PUT" });
  return {
    url,
    bucket,
    ...keys,
    async keys() {
      const all: string[] = [];
      for (let from = ""; ; ) {
        const text = await (await ask(`?list-type=2${from && `&start-after=${encodeURIComponent(from)}`}`)).text();
        const page = [...text.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key = ""]) => key);
        all.push(...page);
        if (!text.includes("<IsTruncated>true")) return all;
        from = page.at(-1) ?? "";
      }
    },
    read: async (key) => Buffer.from(await (await ask(`/${key}`)).arrayBuffer()),
    async [Symbol.asyncDispose]() {
      process.off("exit", killAtExit);
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    },
  };
}

async function isListening(child: ChildProcess): Promise<void> {
  let log = "";
  await new Promise<void>((resolve, reject) => {
    const listen = (text: string) => {
      log += text;
      if (log.includes("Running on http")) resolve();
    };
    child.stdout?.setEncoding("utf8").on("data", listen);
    child.stderr?.setEncoding("utf8").on("data", listen);
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`The S3 server ended with ${code}:\n${log}`)));
  });
}

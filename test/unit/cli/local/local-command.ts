import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { type Run, run, temporaryFolder } from "../fake-terminal.ts";
import { launch, type Running } from "../launch.ts";

export const script = fileURLToPath(new URL("../../../helpers/queue-worker.mjs", import.meta.url));
export const queueWorker = (manner = "") => `"${process.execPath}" "${script}" ${manner}`;

export async function ends(...argv: string[]) {
  const { code, stdout, stderr } = run(argv, { cwd: await temporaryFolder() });
  return { code: await code, stdout: stdout.text, stderr: stderr.text };
}

/** `layerdiffuse local` in this process, ended with the test. */
export async function serve(...argv: string[]): Promise<Run & { url: string }> {
  const served = run(["local", "--port", "0", ...argv], { cwd: await temporaryFolder() });
  onTestFinished(async () => {
    served.interrupt();
    await served.code;
  });
  await served.stdout.until(/RUNPOD_API_KEY.*\n/);
  return { ...served, url: urlOf(served.stdout.text) };
}

/** The same as a process, with a folder of its own. */
export async function serveAlone(...argv: string[]): Promise<Running & { url: string }> {
  const served = launch(["local", "--port", "0", ...argv], await temporaryFolder());
  await served.until(/RUNPOD_API_KEY.*\n/, "stdout");
  return { ...served, url: urlOf(served.stdout().toString()) };
}

export const urlOf = (text: string): string => /RUNPOD_BASE_URL\W+(http[^\s"]+)/.exec(text)?.[1] ?? "";

export async function ask(url: string, operation: string, input?: object): Promise<Response> {
  return await fetch(`${url}/local/${operation}`, {
    headers: { authorization: "Bearer local" },
    ...(input !== undefined && { method: "POST", body: JSON.stringify({ input }) }),
  });
}

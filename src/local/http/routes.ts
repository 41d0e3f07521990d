/** What a worker under `runpod.serverless.start` asks for under `{base}/{endpointId}/`. */
export type WorkerOperation = "job-take" | "job-take-batch" | "job-stop" | "job-done" | "job-stream" | "ping";

/** With the methods it uses. */
export const workerOperations: { readonly [Name in WorkerOperation]: readonly string[] } = {
  "job-take": ["GET"],
  "job-take-batch": ["GET"],
  "job-stop": ["GET"],
  "job-done": ["POST"],
  "job-stream": ["POST"],
  ping: ["GET"],
};

export function isWorkerOperation(name: unknown): name is WorkerOperation {
  return typeof name === "string" && Object.hasOwn(workerOperations, name);
}

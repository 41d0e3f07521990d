/** What a worker under `runpod.serverless.start` asks for under `{base}/{endpointId}/`, with the methods it uses. */
export const workerOperations = {
  "job-take": ["GET"],
  "job-take-batch": ["GET"],
  "job-stop": ["GET"],
  "job-done": ["POST"],
  "job-stream": ["POST"],
  ping: ["GET"],
} as const;
export type WorkerOperation = keyof typeof workerOperations;

export function isWorkerOperation(name: unknown): name is WorkerOperation {
  return typeof name === "string" && Object.hasOwn(workerOperations, name);
}

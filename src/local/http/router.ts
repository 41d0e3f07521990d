import { isOperation, type Operation } from "../../protocol/operations.ts";

/** The operations of a worker under `runpod.serverless.start`, below `{base}/{endpointId}/`. */
export type WorkerOperation = "job-take" | "job-take-batch" | "job-stop" | "job-done" | "job-stream" | "ping";

/** The methods that a worker uses for each. */
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

export interface Route {
  readonly endpointId: string | undefined;
  readonly operation: Operation | WorkerOperation | undefined;
  /** Everything after the operation. For a client this is the job's id, which clients do not encode. */
  readonly rest: string | undefined;
}

/** Splits `/v2/{endpointId}/{operation}[/{rest}]` into its parts. */
export function parsePath(pathname: string): Route {
  const [, endpointId, name, rest] = /^\/v2\/([^/]+)(?:\/([^/]+)(?:\/(.+))?)?$/.exec(pathname) ?? [];
  return { endpointId, operation: isOperation(name) || isWorkerOperation(name) ? name : undefined, rest };
}

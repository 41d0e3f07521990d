/** The operations under `{base}/{endpointId}/`, with the methods the service takes. */
export const operations = {
  run: ["POST"],
  runsync: ["POST"],
  status: ["GET", "POST"],
  "status-sync": ["GET", "POST"],
  stream: ["GET", "POST"],
  cancel: ["POST"],
  retry: ["POST"],
  "purge-queue": ["POST"],
  health: ["GET"],
  requests: ["GET"],
} as const;
export type Operation = keyof typeof operations;

export function isOperation(name: unknown): name is Operation {
  return typeof name === "string" && Object.hasOwn(operations, name);
}

/**
 * What the service and its workers say in words alone: there is no code to go by, so these words are part of the wire.
 * Each is looked for at the beginning of a message, unless its source says otherwise.
 */
export const serviceWords = {
  /**
   * A job that reached its execution time-out. The service reports it as FAILED with this error; some report TIMED_OUT.
   * Reported by users of the service; docs/protocol.md.
   */
  executionTimeout: /^executionTimeout exceeded/i,
  /**
   * A job whose worker was lost twice. `{"status":"FAILED","error":"job timed out after 1 retries"}`, seen live:
   * runpod/runpod-plugins-official, golden path 15.
   */
  workerLost: /^job timed out after \d+ retries/i,
  /**
   * A 404 that is about the endpoint and not about a job. `{"error":"endpoint not found"}`: a test of
   * runpod/runpodctl.
   */
  endpointNotFound: /^endpoint not found/i,
  /**
   * A worker that does not know `warm_up` and asks for a prompt. The published image answers a job without one
   * with the text of a missing field and no code; where in the text the words stand depends on its version.
   */
  promptMissing: /\bprompt\b.*\b(?:required|missing)\b|\b(?:required|missing)\b.*\bprompt\b/is,
} as const satisfies Record<string, RegExp>;

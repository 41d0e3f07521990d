import type { Session } from "../terminal/session.ts";
import { type ConnectionFlags, connect } from "./connect.ts";

/** `layerdiffuse health`: how many workers and jobs the endpoint has, in which state. */
export async function health(session: Session, flags: ConnectionFlags): Promise<void> {
  const { client } = connect(session, flags);
  const { workers, jobs } = await client.health({ signal: session.signal });
  if (session.isJson) {
    await session.answer(JSON.stringify({ workers, jobs }));
    return;
  }
  const { idle, running, ready, initializing, throttled, unhealthy } = workers;
  const { inQueue, inProgress, completed, failed, retried } = jobs;
  await session.answer(
    `workers  ${idle} idle, ${running} running, ${ready} ready, ${initializing} initializing, ${throttled} throttled, ${unhealthy} unhealthy`,
  );
  await session.answer(
    `jobs     ${inQueue} in the queue, ${inProgress} in progress, ${completed} completed, ${failed} failed, ${retried} retried`,
  );
}

import { isLayerDiffuseError } from "../../errors/index.ts";
import { AdvisedError, Interruption } from "../terminal/failures.ts";
import { JobProgress } from "../terminal/progress-view.ts";
import type { Session } from "../terminal/session.ts";
import { adviseAbout, goesOn } from "./abandon.ts";
import { type ConnectionFlags, connect } from "./connect.ts";
import { deliver, type OutputFlags, prepareDestination } from "./destination.ts";
import type { WaitFlags } from "./generate-image.ts";

/**
 * `layerdiffuse result ID`: takes up a job that another run submitted. Whoever stops waiting for it
 * leaves it running: this run did not make it.
 */
export async function result(
  session: Session,
  id: string,
  flags: ConnectionFlags & OutputFlags & WaitFlags,
): Promise<void> {
  const destination = await prepareDestination(session, flags);
  const { client } = connect(session, flags);
  const job = client.job(id);
  const progress = new JobProgress(session);
  const image = await job
    .result({
      signal: session.signal,
      onProgress: progress.update,
      executionTimeout: flags.timeout,
      queueTimeout: flags.queueTimeout,
      cancelOnAbort: false,
    })
    .catch(async (error: unknown) => {
      progress.stop();
      throw leftRunning(error) ? new AdvisedError(error, id, goesOn(id)) : adviseAbout(error);
    })
    .finally(() => progress.stop());
  await deliver(session, image, destination, progress.elapsed);
}

/** `layerdiffuse cancel ID` */
export async function cancel(session: Session, id: string, flags: ConnectionFlags): Promise<void> {
  const { client } = connect(session, flags);
  const { status } = await client.job(id).cancel({ signal: session.signal });
  await session.answer(session.isJson ? JSON.stringify({ jobId: id, status }) : status);
  if (status === "COMPLETED") await session.note(`It had completed already: layerdiffuse result ${id} -o FILE`);
}

function leftRunning(error: unknown): boolean {
  return (
    error instanceof Interruption ||
    isLayerDiffuseError(error, "queue_timeout") ||
    isLayerDiffuseError(error, "execution_timeout")
  );
}

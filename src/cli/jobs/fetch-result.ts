import { AdvisedError, Interruption } from "../terminal/failures.ts";
import { JobProgress } from "../terminal/progress-view.ts";
import type { Session } from "../terminal/session.ts";
import { adviseAbout, isLate } from "./abandon.ts";
import { type ConnectionFlags, connect } from "./connect.ts";
import { deliver, type OutputFlags, prepareDestination } from "./destination.ts";
import type { WaitFlags } from "./generate-image.ts";
import { goesOn } from "./job-commands.ts";

/**
 * `layerdiffuse result ID`: takes up a job that another run submitted. When the waiting ends early, the job goes on:
 * this run did not submit it.
 */
export async function fetchResult(
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
      throw error instanceof Interruption || isLate(error)
        ? new AdvisedError(error, id, goesOn(id, flags))
        : adviseAbout(error, flags);
    })
    .finally(() => progress.stop());
  await deliver(session, image, destination, progress.elapsed, flags);
}

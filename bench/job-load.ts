// Submits jobs and waits for their results, so many at once, over keep-alive connections.
import { Connection } from "./keep-alive.ts";

export interface LoadPlan {
  /** Where the endpoint is, such as `http://127.0.0.1:8000/v2`. */
  readonly baseUrl: string;
  /** Number of the first job: `{ n }` is a job's input, and `n` its right output. */
  readonly first: number;
  readonly jobs: number;
  readonly inFlight: number;
  /** `/run`, then `/status-sync`, two requests for a job as our client sends them; or `/runsync` alone. */
  readonly way: "run" | "runsync";
}

export interface LoadResult {
  readonly jobs: number;
  readonly seconds: number;
  /** Milliseconds from the submission of each job to its result. */
  readonly times: readonly number[];
  /** What became of jobs whose right result did not come. */
  readonly lost: readonly string[];
}

interface WireJob {
  readonly id: string;
  readonly status: string;
  readonly output?: unknown;
}

export async function loadJobs({ baseUrl, first, jobs, inFlight, way }: LoadPlan): Promise<LoadResult> {
  const path = `${new URL(baseUrl).pathname}/local`;
  const lost: string[] = [];
  const times: number[] = [];
  let next = first;

  const run = async (connection: Connection, n: number) => {
    const begun = performance.now();
    let { status, body } = await connection.send("POST", `${path}/${way}`, `{"input":{"n":${n}}}`);
    let job: WireJob = JSON.parse(body);
    while (status === 200 && (job.status === "IN_QUEUE" || job.status === "IN_PROGRESS")) {
      ({ status, body } = await connection.send("GET", `${path}/status-sync/${job.id}`));
      job = JSON.parse(body);
    }
    times.push(performance.now() - begun);
    if (status !== 200 || job.status !== "COMPLETED" || job.output !== n) lost.push(`job ${n}: ${status} ${body}`);
  };

  const lane = async (opened: Connection) => {
    let connection = opened;
    while (next < first + jobs) {
      const n = next++;
      try {
        await run(connection, n);
      } catch (error) {
        lost.push(`job ${n}: ${error}`);
        connection.close();
        connection = await Connection.open(baseUrl);
      }
    }
    connection.close();
  };

  const connections = await Promise.all(Array.from({ length: inFlight }, () => Connection.open(baseUrl)));
  const begun = performance.now();
  await Promise.all(connections.map(lane));
  const seconds = (performance.now() - begun) / 1_000;
  return { jobs, seconds, times, lost };
}

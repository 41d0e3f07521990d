import { expect, it } from "vitest";
import { startRedis } from "../helpers/redis-server.ts";
import { endsWithTest, launchPage, pageOfRedis, startCluster } from "./cluster.ts";
import { outputOf } from "./images.ts";
import { Ledger } from "./ledger.ts";

/** As in the page's code. */
const most = { jobs: 4, perMinute: 30 };

it("three instances take four jobs of a caller at once and thirty in a minute, no more and no less", async () => {
  const redis = endsWithTest(await startRedis());
  const ledger = new Ledger();
  const launch = launchPage(pageOfRedis(), { REDIS_URL: redis.url });
  let release = () => {};
  let held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { endpoint, instances } = endsWithTest(
    await startCluster({
      launch,
      watch: ledger.watch,
      endpoint: {
        maxWorkers: 20,
        worker: async ({ input }) => {
          await held;
          return outputOf(input);
        },
      },
    }),
  );
  let number = 0;
  /** As many at once, spread over the instances; answers how many were taken. */
  const submit = async (count: number) => {
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const statuses = Array.from({ length: count }, async () => {
      const body = JSON.stringify({ input: { prompt: `alice ${number++}` } });
      const { status } = await fetch(`${instances[number % 3]?.url}/run`, { method: "POST", headers, body });
      expect([200, 429]).toContain(status);
      return status;
    });
    return (await Promise.all(statuses)).filter((status) => status === 200).length;
  };

  expect(await submit(60)).toBe(most.jobs);
  release();
  held = Promise.resolve();
  let taken: number = most.jobs;
  // Each answer of 429 for too many jobs at once costs nothing of the minute.
  while (taken < most.perMinute) taken += await submit(2);
  expect(taken).toBe(most.perMinute);
  expect(await submit(12)).toBe(0);
  expect(ledger.made).toHaveLength(most.perMinute);
  expect(ledger.mostAtOnce(endpoint)).toBe(most.jobs);
});

import { expect, it } from "vitest";
import { until } from "../peers/until.ts";
import { runStorm } from "./storm.ts";

const settings = {
  browsers: 300,
  tabs: 3,
  apart: 100,
  lostBrowsers: 60,
  closing: 0.1,
  isStormy: true,
  pngBytes: 40_000,
  workers: 100,
  jobTime: 2_000,
};
/** As in the page's code. */
const mostJobs = 4;

it("300 browsers lose nothing and pay nothing twice while instances die, Redis restarts and the endpoint has its moods", async () => {
  await runStorm(settings, async ({ calls, ledger, endpoint, proxyUrl, seconds, kills, restarts }) => {
    const counts = new Map<string, number>();
    for (const { outcome, code } of calls) {
      const what = code ?? outcome;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
    const said = [...counts].map(([what, count]) => `${what}: ${count}`).join(", ");
    process.stdout.write(
      `${said}; ${kills} kills, ${restarts} restarts, ${ledger.troubles} refusals, ${seconds.toFixed(1)} s\n`,
    );

    // Every image arrives, or its call ends with a typed error that says whether it cost money and what to do.
    expect(calls).toHaveLength((settings.browsers - settings.lostBrowsers) * 2);
    expect(calls.filter(({ wrong }) => wrong !== undefined)).toEqual([]);
    const errors = calls.filter(({ outcome }) => outcome === "error");
    const isHelpful = ({ code, submitted, message = "" }: (typeof errors)[number]) =>
      code !== undefined && submitted !== undefined && /[.:] [A-Z].*\.$/s.test(message);
    expect(errors.filter((error) => !isHelpful(error))).toEqual([]);
    // A submission is in doubt only where an instance died or the endpoint failed under it.
    expect(errors.length).toBeLessThan(calls.length / 5);

    expect(ledger.twice).toEqual([]);
    expect(ledger.mostAtOnce(endpoint)).toBeLessThanOrEqual(mostJobs);

    await until("all jobs to end", () => endpoint.jobs().every(({ endedAt }) => endedAt !== undefined));
    const begun = performance.now();
    const callers = Array.from({ length: settings.browsers / settings.tabs }, (_, number) => `caller-${number}`);
    const again = callers.flatMap((caller) => Array.from({ length: mostJobs }, () => submit(proxyUrl, caller)));
    await Promise.all(again);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });
});

/** As a page's reload does it: without a client that knows of earlier answers. */
async function submit(proxyUrl: string, caller: string): Promise<void> {
  const headers = { "x-user": caller, "content-type": "application/json" };
  const body = JSON.stringify({ input: { prompt: `${caller} again` } });
  const isTaken = async () => (await fetch(`${proxyUrl}/run`, { method: "POST", headers, body })).ok;
  await until(`${caller} to submit again`, isTaken);
}

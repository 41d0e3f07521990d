import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { GenerateOptions } from "../../../src/client/call-options.ts";
import { clientOver } from "../../../src/client/layer-diffuse.ts";
import { png } from "../../helpers/job-model.ts";
import { ManualClock } from "../../helpers/manual-clock.ts";
import { RandomService, type ServiceScript } from "../../helpers/random-service.ts";
import { doors, type Fault } from "../../helpers/service-faults.ts";
import { checkTicket, checkWorld } from "./stories/call-invariants.ts";
import { stories } from "./stories/random-stories.ts";
import { Play } from "./stories/story.ts";

/** `PROPERTY_RUNS=100000` plays that many stories. `PROPERTY_SEED` and `PROPERTY_PATH` replay one, as a failure names it. */
const { PROPERTY_RUNS: runs = "300", PROPERTY_SEED: seed, PROPERTY_PATH: path } = process.env;

test("whatever the service and the network do, each call settles once, pays once at most, and loses no image that was paid for", async () => {
  await fc.assert(
    fc.asyncProperty(stories, async (story) => {
      const play = new Play(story);
      await play.run();
      for (const ticket of play.tickets) checkTicket(play, ticket);
      await checkWorld(play);
    }),
    { numRuns: Number(runs), ...(seed && { seed: Number(seed) }), ...(path && { path }) },
  );
}, 36_000_000);

const fine: Fault = { kind: "none", n: 0 };
const notFound: Fault = { kind: "door", n: doors.indexOf(404) };
const tooMany: Fault = { kind: "door", n: doors.indexOf(429) };
const reset: Fault = { kind: "reset before", n: 0 };

/** A client of a service with one job, which waits for 5 s and runs for 5 s. */
function world(script: Partial<ServiceScript>, options: GenerateOptions = {}) {
  const clock = new ManualClock();
  const service = new RandomService(
    clock,
    {
      jobs: [
        { stages: [[5_000, 5_000]], running: "IN_PROGRESS", end: "COMPLETED", output: "base64", retention: 60_000 },
      ],
      ...{ faults: [], outages: [], holdsPolls: true, longPoll: "yes", keepsTtl: false },
      ...script,
    },
    30_000,
  );
  const target = { endpointId: "e1", apiKey: "rpa_7F3AQ0KLM", baseUrl: "https://service.test/v2" };
  const client = clientOver({ ...target, fetch: service.fetch }, { clock, random: () => 0.9 });
  return { clock, service, generate: () => clock.drive(client.generate("an apple", options)) };
}

describe("what such stories have found", () => {
  test("after a 405 of the long poll, one 404 of the job is confirmed before it is believed", async () => {
    const { service, generate } = world({ longPoll: "405", faults: [fine, fine, notFound] });
    expect([...(await generate()).bytes]).toEqual([...png]);
    expect(service.exchanges.slice(1, 4).map(({ operation, status }) => [operation, status])).toEqual([
      ["status-sync", 405],
      ["status", 404],
      ["status", 200],
    ]);
  });

  test("a service that holds nothing is asked no faster after a poll that had to be repeated", async () => {
    const { service, generate } = world({ holdsPolls: false, faults: [fine, reset, reset, reset] });
    await generate();
    const polls = service.exchanges.filter(
      ({ operation, outcome }) => operation === "status-sync" && outcome === "answered",
    );
    const gaps = polls.slice(1).map(({ startedAt }, index) => startedAt - (polls[index]?.startedAt ?? 0));
    expect(gaps.length).toBeGreaterThan(3);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(250);
  });

  test("without a long poll, one 404 of the job is confirmed before it is believed", async () => {
    const { generate } = world({ longPoll: "404", faults: [fine, fine, notFound] });
    expect([...(await generate()).bytes]).toEqual([...png]);
  });

  test("the time before a held submission got through does not count as the job's run", async () => {
    const faults = Array.from({ length: 8 }, () => tooMany);
    const { generate } = world({ faults }, { mode: "sync", executionTimeout: 6_000 });
    expect([...(await generate()).bytes]).toEqual([...png]);
  });
});

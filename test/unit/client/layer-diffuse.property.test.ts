import fc from "fast-check";
import { test } from "vitest";
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

import fc from "fast-check";
import { type JobScript, outputKinds, outputs } from "../../../helpers/job-model.ts";
import type { ServiceScript } from "../../../helpers/random-service.ts";
import type { Fault, FaultKind } from "../../../helpers/service-faults.ts";
import type { CallScript, Story } from "./story.ts";

const times = (least: number, most: number) => fc.integer({ min: least, max: most });

/** The more often, the likelier. The simplest comes first: a failing story is made as simple as it can be. */
const kinds: readonly FaultKind[] = [
  ...([
    "none",
    "none",
    "none",
    "none",
    "slow",
    "slow to arrive",
    "not held",
    "stale",
    "in chunks",
    "in chunks",
  ] as const),
  ...(["connection", "connection", "several addresses", "door", "door", "door", "come back", "come back"] as const),
  ...(["trouble", "trouble", "busy", "error with 200", "odd body", "odd body", "truncated", "cut"] as const),
  ...(["reset before", "reset after", "lost", "hangs", "problem", "problem: busy"] as const),
];

const fault: fc.Arbitrary<Fault> = fc.record({ kind: fc.constantFrom(...kinds), n: fc.nat(999) });
const calm = fc.nat(10).map((length) => Array.from({ length }, (): Fault => ({ kind: "none", n: 0 })));
const storm = fc.array(fault, { minLength: 1, maxLength: 8 });
/** Faults come in bursts. */
const weather = fc
  .array(fc.tuple(calm, storm), { maxLength: 4 })
  .map((spells) => spells.flatMap(([quiet, bad]) => [...quiet, ...bad]));

const soon = fc.oneof(times(0, 3_000), times(0, 3_000), times(0, 60_000));

const job: fc.Arbitrary<JobScript> = fc.record({
  stages: fc.oneof(
    { weight: 3, arbitrary: fc.array(fc.tuple(soon, soon), { minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.array(fc.tuple(soon, soon), { minLength: 1, maxLength: 3 }) },
  ),
  running: fc.constantFrom("IN_PROGRESS", "IN_PROGRESS", "RUNNING", "WARMING"),
  end: fc.constantFrom("COMPLETED", "COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "never"),
  output: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...outputKinds.filter((kind) => outputs[kind][1] !== undefined)) },
    { weight: 1, arbitrary: fc.constantFrom(...outputKinds) },
  ),
  retention: fc.oneof({ weight: 4, arbitrary: fc.constant(1_800_000) }, { weight: 1, arbitrary: times(0, 60_000) }),
});

const service: fc.Arbitrary<ServiceScript> = fc.record({
  jobs: fc.array(job, { minLength: 1, maxLength: 4 }),
  faults: weather,
  outages: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ from: soon, lasts: soon, fault }), { minLength: 1, maxLength: 2 }),
    },
  ),
  holdsPolls: fc.constantFrom(true, true, true, true, false),
  longPoll: fc.constantFrom("yes", "yes", "yes", "yes", "404", "405"),
  keepsTtl: fc.boolean(),
});

const clocks = fc.oneof(
  { weight: 3, arbitrary: times(30_000, 150_000) },
  { weight: 1, arbitrary: times(1_000, 30_000) },
);

const call: fc.Arbitrary<CallScript> = fc.record({
  method: fc.constantFrom("generate", "generate", "generate sync", "generateMany", "submit", "run"),
  startsAt: fc.oneof(fc.constant(0), soon),
  abortsAt: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: soon }),
  isWatched: fc.constantFrom(false, true, false),
  throwsAt: fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: times(1, 8) }),
  cancelOnAbort: fc.constantFrom(true, true, true, false),
  failEarly: fc.constantFrom(false, false, false, true),
  queueTimeout: clocks,
  executionTimeout: clocks,
  items: times(1, 4),
  atOnce: times(1, 3),
  leavesAfter: fc.constantFrom(undefined, undefined, undefined, 1, 2),
});

/** Stories of a client, a service and the network between them. */
export const stories: fc.Arbitrary<Story> = fc.record({
  service,
  calls: fc.oneof(
    { weight: 3, arbitrary: fc.array(call, { minLength: 1, maxLength: 1 }) },
    { weight: 1, arbitrary: fc.array(call, { minLength: 2, maxLength: 3 }) },
  ),
  sleeps: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ at: soon, lasts: times(1, 600_000) }), { minLength: 1, maxLength: 2 }),
    },
  ),
  isProxy: fc.constantFrom(false, false, false, true),
  requestTimeout: fc.constantFrom(30_000, 30_000, 5_000),
  retries: fc.constantFrom(5, 2, 0),
  concurrency: fc.constantFrom(8, 4, 2, 1),
  chance: fc.nat(),
});

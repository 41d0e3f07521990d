import { Redis } from "ioredis";
import { describe, onTestFinished } from "vitest";
import { redisJobs } from "../../src/proxy/index.ts";
import { jobStoreCases } from "../helpers/job-store-cases.ts";
import { startRedis } from "../helpers/redis-server.ts";
import { endsWithTest } from "./cluster.ts";

describe("callers' places in a real Redis", () => {
  jobStoreCases(async () => {
    const server = endsWithTest(await startRedis());
    const redis = new Redis(server.url);
    onTestFinished(() => redis.disconnect());
    return {
      store: redisJobs((command) => redis.call(...command)),
      // By Redis' own clock, which no test can move.
      pass: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    };
  });
});

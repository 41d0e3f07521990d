import * as z from "zod/mini";
import { check } from "../../schema/check.ts";
import { type JobList, type JobStore, removalMemory } from "./job-store.ts";

/**
 * Sends a command, given as its name and arguments, and resolves with the reply. For `ioredis`:
 * `(command) => redis.call(...command)`; for `redis`: `(command) => client.sendCommand(command)`.
 */
export type RedisCommand = (command: [name: string, ...args: string[]]) => Promise<unknown>;

/** By Redis' own clock, so that the instances' clocks need not agree. */
const now = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** The key of a list lives as long as its last entry. */
const expire = `
local last = redis.call("ZRANGE", KEYS[1], -1, -1, "WITHSCORES")
if last[2] then redis.call("PEXPIREAT", KEYS[1], last[2]) end
`;

/** Each script is one step for Redis, so instances never count past each other. */
const scripts = {
  add: `${now}
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now)
if not redis.call("ZSCORE", KEYS[1], ARGV[1]) and redis.call("ZCARD", KEYS[1]) >= tonumber(ARGV[2]) then
  return { 0, redis.call("ZRANGE", KEYS[1], 0, -1) }
end
redis.call("ZADD", KEYS[1], now + ARGV[3], ARGV[1])
${expire}
return { 1, {} }`,
  replace: `${now}
redis.call("ZREM", KEYS[1], ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", now)
if not redis.call("ZSCORE", KEYS[2], ARGV[2]) then redis.call("ZADD", KEYS[1], now + ARGV[3], ARGV[2]) end
${expire}`,
  remove: `${now}
if redis.call("ZREM", KEYS[1], ARGV[1]) == 0 and redis.call("EXISTS", KEYS[1]) == 1 then
  redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", now)
  redis.call("ZADD", KEYS[2], now + ARGV[2], ARGV[1])
  redis.call("PEXPIRE", KEYS[2], ARGV[2])
end`,
} as const;

const addReply = z.tuple([z.number(), z.array(z.string())]);

/**
 * Keeps callers' jobs in Redis 5 or newer, or in anything that speaks its `EVAL`, for all instances.
 *
 * @param send sends a command by the Redis client of your choice
 * @param options `prefix` begins all keys. Default: `layerdiffuse:jobs`
 *
 * @example
 * ```ts
 * const redis = new Redis(process.env.REDIS_URL);
 * createProxy({ authorize, limiter: { jobs: redisJobs((command) => redis.call(...command)) } });
 * ```
 */
export function redisJobs(send: RedisCommand, { prefix = "layerdiffuse:jobs" }: { prefix?: string } = {}): JobStore {
  // The braces keep a caller's two keys together in a cluster.
  const run = (script: string, caller: string, ...args: string[]) =>
    send(["EVAL", script, "2", `${prefix}:{${caller}}`, `${prefix}:{${caller}}:ended`, ...args]);
  return {
    add: async (caller, entry, most, lifetime) =>
      listOf(await run(scripts.add, caller, entry, String(most), String(lifetime))),
    replace: async (caller, old, entry, lifetime) => {
      await run(scripts.replace, caller, old, entry, String(lifetime));
    },
    remove: async (caller, entry) => {
      await run(scripts.remove, caller, entry, String(removalMemory));
    },
  };
}

function listOf(reply: unknown): JobList {
  const { value } = check(addReply, reply);
  if (!value) throw new TypeError("The reply to EVAL is not that of Redis. Check the function given to redisJobs.");
  const [added, entries] = value;
  return { isAdded: added === 1, entries };
}

import { describe, expect, test } from "vitest";
import { stage } from "../fake-terminal.ts";

describe("a wrong value is refused before anything is sent, with its flag and what is right", () => {
  test.each([
    ["generate", "--seed <n>", "4294967296", "a whole number from 0 to 4294967295"],
    ["generate", "--seed <n>", "1.5", "must be a whole number"],
    ["generate", "--steps <n>", "101", "a whole number from 1 to 100"],
    ["generate", "--steps <n>", "", "must be a number"],
    ["generate", "--steps <n>", " ", "must be a number"],
    ["generate", "--steps <n>", "10px", "must be a number"],
    ["generate", "--cfg-scale <n>", "0.5", "a number from 1 to 30"],
    ["generate", "--width <px>", "1000", "a multiple of 64 (nearest: 960, 1024)"],
    ["generate", "--height <px>", "8192", "a number from 64 to 4096"],
    ["generate", "--sampler <name>", " ", "must not be blank"],
    ["generate", "--concurrency <n>", "0", "a whole number of 1 or more"],
    ["generate", "--concurrency <n>", "2.5", "a whole number of 1 or more"],
    ["generate", "--timeout <seconds>", "", "a number of seconds above 0"],
    ["generate", "--queue-timeout <seconds>", "-1", "a number of seconds above 0"],
    ["generate", "--price-per-second <usd>", "-1", "a price in USD, 0 or more"],
    ["result", "--timeout <seconds>", "0", "a number of seconds above 0"],
    ["local", "--idle-timeout <seconds>", "", "a number of seconds, or 0 for none"],
    ["local", "--workers <n>", "-1", "a whole number of 0 or more"],
    ["local", "-p, --port <n>", "65536", "a whole number from 0 to 65535"],
    ["local", "--worker <command>", "", "must be a command"],
    ["serve", "-p, --port <n>", "", "a whole number from 0 to 65535"],
    ["serve", "--origin <origin>", "https://*.example.com", "an origin as browsers write it"],
    ["serve", "--origin <origin>", "https://example.com/", "an origin as browsers write it"],
    ["serve", "--origin <origin>", "file:///", "an origin as browsers write it"],
    [
      "serve",
      "--public-url <url>",
      "https://user:pass@example.com",
      "an http(s) address without query and credentials",
    ],
    ["serve", "--public-url <url>", "https://example.com?a=1", "an http(s) address without query and credentials"],
    ["serve", "--rate-per-minute <n>", "many", "a whole number of 1 or more"],
  ])("%s %s %j", async (command, flags, value, right) => {
    const { finish, endpoint } = await stage();
    const flag = /--[\w-]+/.exec(flags)?.[0] ?? "";
    const { code, stdout, stderr } = await finish([command, "x", flag, value]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(`error: option '${flags}' argument '${value}' is invalid. It `);
    expect(stderr).toContain(right);
    expect(endpoint.requests).toEqual([]);
  });
});

test.each(["4294967295", "0", "1e3", " 7 "])("a seed may be written as %j", async (seed) => {
  const { finish, inputs } = await stage();
  expect((await finish(["generate", "x", "--seed", seed])).code).toBe(0);
  expect(inputs()[0]?.["seed"]).toBe(Number(seed));
});

test("no time limit at all is a time limit too", async () => {
  const { finish } = await stage();
  expect((await finish(["generate", "x", "--timeout", "Infinity"])).code).toBe(0);
});

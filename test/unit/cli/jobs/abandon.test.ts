import { readdir } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { deferred } from "../../../helpers/deferred.ts";
import { endless, stage } from "../fake-terminal.ts";

describe("Ctrl-C", () => {
  test("cancels the job on the endpoint, says so, and exits with 130", async () => {
    const { start, endpoint, folder } = await stage({ worker: endless });
    const { stderr, stdout, code, interrupt, exits } = start(["generate", "an apple"]);
    await stderr.until(/^running/m);
    interrupt();
    expect(await code).toBe(130);
    const [job] = endpoint.jobs();
    expect(job?.status).toBe("CANCELLED");
    expect(stderr.text).toMatch(
      /Ctrl-C: cancelling on the endpoint\. Press Ctrl-C again to leave at once\.\nCancelled job \S+\.\n$/,
    );
    expect(stderr.text).toContain(`Cancelled job ${job?.id}.`);
    expect(stdout.text).toBe("");
    expect(exits).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  test("with --json names the job", async () => {
    const { start, endpoint } = await stage({ worker: endless });
    const { stderr, stdout, code, interrupt } = start(["generate", "an apple", "--json"]);
    await stderr.until(/ · job /);
    interrupt();
    await code;
    const error = { code: "interrupted", message: "Interrupted by Ctrl-C.", jobId: endpoint.jobs()[0]?.id };
    expect(JSON.parse(stdout.text)).toEqual({ error });
  });

  test.each(["async", "sync"])("while the %s submission is on its way cancels the job it makes", async (mode) => {
    const { start, endpoint } = await stage({ worker: endless });
    const { promise: answer, resolve } = deferred();
    const arrived = deferred();
    const operation = mode === "sync" ? "runsync" : "run";
    // The job exists; its answer stays out until the user has given up.
    endpoint.faults.add({ operation, edit: (body) => body, when: "after" });
    const { fetch } = globalThis;
    const held: typeof globalThis.fetch = async (input, init) => {
      if (!String(input).includes(`/${operation}`)) return await fetch(input, init);
      arrived.resolve();
      const url = new URL(String(input));
      url.searchParams.set("wait", "1000");
      const response = await fetch(mode === "sync" ? url : input, init);
      await answer;
      return response;
    };
    globalThis.fetch = held;
    try {
      const { stderr, code, interrupt } = start(["generate", "an apple", "--mode", mode]);
      await arrived.promise;
      interrupt();
      await stderr.until(mode === "sync" ? /names a job only in its answer/ : /cancelling/);
      resolve();
      expect(await code).toBe(130);
      expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED"]);
      expect(stderr.text).toContain(`Cancelled job ${endpoint.jobs()[0]?.id}.`);
    } finally {
      globalThis.fetch = fetch;
    }
  });

  test("a second time leaves at once", async () => {
    const { start, endpoint } = await stage({ worker: endless });
    const { stderr, code, interrupt, exits } = start(["generate", "an apple"]);
    await stderr.until(/ · job /);
    endpoint.faults.add({ operation: "cancel", delay: 200 });
    interrupt();
    await stderr.until(/cancelling/);
    interrupt();
    expect(exits).toEqual([130]);
    expect(await code).toBe(130);
  });

  test("without an answer to the cancellation says that the job may still run", async () => {
    const { start, endpoint } = await stage({ worker: endless });
    const { stderr, code, interrupt } = start(["generate", "an apple"]);
    await stderr.until(/ · job /);
    endpoint.faults.add({ operation: "cancel", respond: { status: 401 } });
    interrupt();
    expect(await code).toBe(130);
    expect(stderr.text).toMatch(/Job \S+ may still be running: .*layerdiffuse cancel \S+/);
  });

  test("after the job completed tells how to fetch the image", async () => {
    const { start, endpoint } = await stage();
    const edit = (body: unknown) => ({ ...(body as object), status: "IN_PROGRESS", output: undefined });
    endpoint.faults.add({ operation: ["status", "status-sync"], edit, times: Number.POSITIVE_INFINITY });
    const { stderr, code, interrupt } = start(["generate", "an apple"]);
    await stderr.until(/^running/m);
    interrupt();
    expect(await code).toBe(130);
    expect(stderr.text).toContain(`layerdiffuse result ${endpoint.jobs()[0]?.id} -o FILE`);
  });

  test("before anything was submitted says so", async () => {
    const { start, endpoint } = await stage();
    const { stderr, code, interrupt } = start(["generate", "an apple"]);
    interrupt();
    expect(await code).toBe(130);
    expect(stderr.text).toContain("Nothing was submitted.");
    expect(endpoint.jobs()).toEqual([]);
  });
});

test("SIGTERM cancels too, and exits with 143", async () => {
  const { start, endpoint } = await stage({ worker: endless });
  const { stderr, code, interrupt } = start(["generate", "an apple"]);
  await stderr.until(/ · job /);
  interrupt("SIGTERM");
  expect(await code).toBe(143);
  expect(endpoint.jobs()[0]?.status).toBe("CANCELLED");
});

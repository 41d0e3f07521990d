import { afterAll, beforeAll, describe, test } from "vitest";
import { field } from "./field.ts";
import { openPeer, type Peer } from "./peer.ts";
import { workerCommand } from "./python.ts";
import { until } from "./until.ts";

/** A result that is refused is larger than this. */
const resultLimit = 16 * 1024 * 1024;

let peer: Peer;
beforeAll(async () => {
  peer = await openPeer({
    maxWorkers: 4,
    resultLimit,
    worker: { command: workerCommand("dispatch"), env: { TAG: "$ID and $HOME" } },
  });
});
afterAll(() => peer.close());

describe.concurrent("what a Python handler returns", () => {
  test.for([["echo"], ["echo_async"]])(
    "%s is handed the job as the service hands it over",
    async ([deed], { expect }) => {
      const input = { do: deed, prompt: "grün 漢字 \u{1f600}", nested: { list: [1, 2.5, null, true] } };
      const body = await peer.done(input, {
        webhook: "http://127.0.0.1:9/hook",
        s3Config: { accessId: "a", accessSecret: "b", bucketName: "c", endpointUrl: "https://s3.example" },
        unknown: 1,
      });
      expect(body).toEqual({
        id: body.id,
        status: "COMPLETED",
        delayTime: expect.any(Number),
        executionTime: expect.any(Number),
        workerId: expect.stringMatching(/^[a-z0-9]{14}$/),
        output: {
          job: {
            id: body.id,
            input,
            webhook: "http://127.0.0.1:9/hook",
            s3Config: { accessId: "a", accessSecret: "b", bucketName: "c", endpointUrl: "https://s3.example" },
          },
          pid: peer.pidOf(body.workerId),
          pings: [expect.any(Number)],
          tag: "$ID and $HOME",
        },
      });
    },
  );

  test.for([
    ["text", "grün 漢字 \u{1f600}"],
    ["empty text", ""],
    ["a list", [1, "b", null]],
    ["an empty list", []],
    ["a number", 1.5],
    ["zero", 0],
    ["false", false],
    ["None", null],
    ["an object", { a: { b: 1 } }],
    ["an object with output in it, which is not unwrapped", { output: { a: 1 } }],
  ] as const)("%s is the output as it is", async ([, value], { expect }) => {
    const body = await peer.done({ do: "answer", value });
    expect(body).toMatchObject({ status: "COMPLETED", output: value });
    expect(body).toHaveProperty("output");
  });

  test("an empty object is no output at all", async ({ expect }) => {
    const body = await peer.done({ do: "answer", value: {} });
    expect(body.status).toBe("COMPLETED");
    expect(body).not.toHaveProperty("output");
  });

  test("an integer beyond what JavaScript counts to arrives digit by digit", async ({ expect }) => {
    const number = "12345678901234567890";
    const submitted = await peer.ask("run", `{"input":{"do":"answer","value":{"seed":${number}}}}`);
    const { text } = await peer.result(submitted.body.id);
    expect(text).toContain(`"output":{"seed": ${number}}`);
  });

  test.for([
    ["nan", "NaN"],
    ["inf", "Infinity"],
    ["-inf", "-Infinity"],
  ] as const)("%s is handed on as Python writes it", async ([name, written], { expect }) => {
    const { text } = await peer.result(await peer.run({ do: "number", name }));
    expect(text).toContain(`"output":{"value": ${written}}`);
    expect(text).toContain('"status":"COMPLETED"');
  });

  test("15 MB are a result like every other", async ({ expect }) => {
    const body = await peer.done({ do: "large", bytes: 15_000_000 });
    expect(body.status).toBe("COMPLETED");
    expect(String(body.output).length).toBe(15_000_000);
  });

  test("more than the service takes leaves COMPLETED without output, and a line in the log", async ({ expect }) => {
    const body = await peer.done({ do: "large", bytes: resultLimit + 1 });
    expect(body).toMatchObject({ status: "COMPLETED" });
    expect(body).not.toHaveProperty("output");
    await peer.log.waitFor(new RegExp(`${body.id}.*over ${resultLimit} bytes`));
  });
});

describe.concurrent("a Python handler that fails", () => {
  test.for([
    ["an error", { error: "bad" }, { status: "FAILED", error: "bad" }, ["output"]],
    ["an error beside output", { error: "bad", a: 1 }, { status: "FAILED", error: "bad", output: { a: 1 } }, []],
    ["an error that is no text", { error: { code: 3 } }, { status: "COMPLETED" }, ["error", "output"]],
    ["an empty error", { error: "" }, { status: "COMPLETED" }, ["error", "output"]],
    ["an error of None beside output", { error: null, a: 1 }, { status: "COMPLETED", output: { a: 1 } }, ["error"]],
  ] as const)("by %s ends as the service has it", async ([, value, shown, absent], { expect }) => {
    const body = await peer.done({ do: "answer", value });
    expect(body).toMatchObject(shown);
    for (const name of absent) expect(body).not.toHaveProperty(name);
  });

  test("by an exception is FAILED with the exception as JSON text", async ({ expect }) => {
    const body = await peer.done({ do: "fail", of: "nothing" });
    expect(body.status).toBe("FAILED");
    expect(body).not.toHaveProperty("output");
    expect(JSON.parse(body.error)).toEqual({
      error_type: "<class 'ValueError'>",
      error_message: "no picture of nothing",
      error_traceback: expect.stringContaining("raise ValueError"),
      hostname: expect.any(String),
      worker_id: body.workerId,
      runpod_version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    });
  });

  test.for([["bytes"], ["set"], ["surrogate"]])(
    "by a value that cannot be serialised (%s) reports nothing, and fails when its second attempt is lost too",
    async ([kind], { expect }) => {
      const body = await peer.done({ do: "unserialisable", kind });
      expect(body).toMatchObject({ status: "FAILED", error: "job timed out after 1 retries", retries: 1 });
      expect(body).not.toHaveProperty("output");
    },
  );

  test("an empty input never reaches a handler: its job fails when its second attempt is lost too", async ({
    expect,
  }) => {
    const body = await peer.done({});
    expect(body).toMatchObject({ status: "FAILED", error: "job timed out after 1 retries", retries: 1 });
    await peer.log.waitFor(/missing field\(s\): id or input/);
  });
});

describe.concurrent("while a Python handler runs", () => {
  test("its progress is the output of the running job, and not of the finished one", async ({ expect }) => {
    const gate = peer.gate();
    const id = await peer.run({ do: "progress", gate: gate.path });
    for (const step of ["first", "second"]) {
      await until(`progress ${step}`, async () => {
        const { body } = await peer.ask(`status/${id}`);
        return body.status === "IN_PROGRESS" && field(body.output, "step") === step;
      });
      gate.open(`-${step}`);
    }
    expect((await peer.result(id)).body).toMatchObject({ status: "COMPLETED", output: "done" });
  });

  test("progress that comes after the result is ignored", async ({ expect }) => {
    const gate = peer.gate();
    const id = await peer.run({ do: "late_progress", gate: gate.path });
    expect((await peer.result(id)).body.output).toBe("result");
    gate.open();
    await peer.log.waitFor(new RegExp(`reported ${id}`));
    const next = await peer.done({ do: "answer", value: "next" });
    expect(next.output).toBe("next");
    expect((await peer.ask(`status/${id}`)).body).toMatchObject({ status: "COMPLETED", output: "result" });
  });

  test("what it prints is in the log, with its worker and its job", async ({ expect }) => {
    const { id, workerId, output } = await peer.done({ do: "talk" });
    expect(output).toBe("said");
    const json = '{"event": "drawn", "level": "info", "message": "in words of its own"}';
    for (const words of ["a line of output", "a line of errors", "grün 漢字", json]) {
      const line = await peer.log.waitFor(new RegExp(`${id}: .*${words.slice(-8, -2)}`));
      expect(line).toBe(`worker ${workerId} job ${id}: ${words}`);
    }
  });

  test("longer than the lease, its worker's pings keep the job, though it blocks everything else", async ({
    expect,
  }) => {
    const body = await peer.done({ do: "rest", seconds: 5 });
    expect(body).toMatchObject({ status: "COMPLETED", output: "rested" });
    expect(body).not.toHaveProperty("retries");
  });
});

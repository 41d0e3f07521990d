import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import type { LocalEndpointOptions } from "../../../../src/local/index.ts";
import { settle, until } from "../../../helpers/manual-clock.ts";
import { type Local, type Reply, start } from "../local.ts";

/** What the service's workers speak, played by hand. */
interface WorkerSide extends Local {
  /** Asks for a job; with a signal, as a worker that may leave. */
  take(worker?: string, signal?: AbortSignal): Promise<Reply>;
  /** Asks for the jobs to stop. */
  stops(worker?: string): Promise<Reply>;
  /** Posts the end of a job, or its progress. */
  done(id: string, body: unknown, worker?: string, query?: string): Promise<Reply>;
  ping(held?: readonly string[], worker?: string): Promise<Reply>;
}

function byHand(options: LocalEndpointOptions = {}): WorkerSide {
  const local = start({ worker: false, ...options });
  const { ask } = local;
  return {
    ...local,
    take: (worker = "w1", signal) => ask(`job-take/${worker}?gpu=cpu`, undefined, signal && { signal }),
    stops: (worker = "w1") => ask(`job-stop/${worker}?gpu=cpu`),
    done: (id, body, worker = "w1", query = "isStream=false") =>
      ask(`job-done/${worker}/${id}?gpu=cpu&${query}`, body, {
        headers: { authorization: "local", "content-type": "application/x-www-form-urlencoded" },
      }),
    ping: (held = [], worker = "w1") =>
      ask(`ping/${worker}?gpu=cpu${held.length > 0 ? `&job_id=${held.join("%2C")}` : ""}&runpod_version=1.12.0`),
  };
}

/** What a request was answered so far. */
function watch(request: Promise<Reply>): { reply: Reply | undefined } {
  const seen: { reply: Reply | undefined } = { reply: undefined };
  request.then(
    (reply) => {
      seen.reply = reply;
    },
    () => {},
  );
  return seen;
}

/** Lets so many things happen that follow from what is under way, and no more. */
async function steps(count: number): Promise<void> {
  for (let step = 0; step < count; step++) await Promise.resolve();
}

describe("job-take", () => {
  test("answers the oldest job that waits, as text ids and JSON", async () => {
    const { ask, run, take, status } = byHand();
    const s3Config = { accessId: "a", accessSecret: "b", bucketName: "c", endpointUrl: "https://s3.example" };
    const first = await run({ a: 1 }, { webhook: "http://127.0.0.1:9/hook", s3Config, other: 1 });
    const second = (await ask("run", '{"input":{"seed":12345678901234567890}}')).body.id;
    const reply = await take();
    expect(reply.status).toBe(200);
    expect(reply.headers.get("content-type")).toBe("application/json");
    expect(reply.body).toEqual({ id: first, input: { a: 1 }, webhook: "http://127.0.0.1:9/hook", s3Config });
    expect((await take()).text).toBe(`{"id":"${second}","input":{"seed":12345678901234567890}}`);
    expect(await status(first)).toMatchObject({ status: "IN_PROGRESS", workerId: "w1" });
  });

  test("leaves an empty input out, as the service does", async () => {
    const { run, take } = byHand();
    const id = await run({});
    expect((await take()).body).toEqual({ id });
  });

  test("is held while there is no job, for well under the 90 s a worker waits, then 204", async () => {
    const { take, clock, endpoint } = byHand();
    const poll = watch(take());
    await clock.pass(9_999);
    expect(poll.reply).toBeUndefined();
    expect(endpoint.held).toBe(1);
    await clock.pass(50_001);
    expect(poll.reply).toMatchObject({ status: 204, text: "" });
    expect(endpoint.held).toBe(0);
  });

  test("wakes as soon as a job comes", async () => {
    const { run, take, clock } = byHand();
    const poll = watch(take());
    await clock.pass(7_000);
    const id = await run();
    expect(poll.reply?.body.id).toBe(id);
  });

  test("gives one job to one of those who wait", async () => {
    const { run, take } = byHand();
    const polls = ["w1", "w2", "w3"].map((worker) => watch(take(worker)));
    await settle();
    const id = await run();
    expect(polls.flatMap(({ reply }) => (reply === undefined ? [] : [reply.body.id]))).toEqual([id]);
  });

  test("that was abandoned gets no job: the next one does", async () => {
    const { run, take, status } = byHand();
    const leave = new AbortController();
    const poll = take("w1", leave.signal);
    poll.catch(() => {});
    await settle();
    leave.abort(new Error("gone"));
    const id = await run();
    expect((await status(id)).status).toBe("IN_QUEUE");
    await expect(poll).rejects.toThrow("gone");
    expect((await take("w2")).body.id).toBe(id);
  });

  test("that is abandoned around the moment a job is handed out has it delivered or put back at its old place", async () => {
    const outcomes = new Set<string>();
    for (let step = 0; step < 100; step++) {
      const { ask, run, take, endpoint } = byHand();
      const leave = new AbortController();
      const poll = watch(take("w1", leave.signal));
      await settle();
      const submitted = ask("run", { input: { first: true } });
      await steps(step);
      leave.abort(new Error("gone"));
      const { id } = (await submitted).body;
      const second = await run({ second: true });
      const isDelivered = poll.reply !== undefined;
      outcomes.add(isDelivered ? "delivered" : "put back");
      expect(endpoint.jobs()[0]?.status).toBe(isDelivered ? "IN_PROGRESS" : "IN_QUEUE");
      const next = (await take("w2")).body;
      expect(next.id).toBe(isDelivered ? second : id);
      expect(next).not.toHaveProperty("retries");
    }
    expect([...outcomes].sort()).toEqual(["delivered", "put back"]);
  });

  test("over a socket that was closed gets no job: the next one does", async () => {
    const { run, take, status, endpoint } = byHand();
    const url = `${await endpoint.listen()}/local/job-take/w1?gpu=cpu&job_in_progress=0`;
    const leave = new AbortController();
    const poll = fetch(url, { headers: { authorization: "local" }, signal: leave.signal });
    poll.catch(() => {});
    await until(() => endpoint.held === 1);
    leave.abort(new Error("gone"));
    await until(() => endpoint.held === 0);
    const id = await run();
    expect((await status(id)).status).toBe("IN_QUEUE");
    expect((await take("w2")).body.id).toBe(id);
  });

  test("over a socket that breaks before the answer is written gets no job: it is the next one's", async () => {
    const { run, take, endpoint } = byHand();
    const { port, host } = new URL(await endpoint.listen());
    const socket = connect(Number(port), "127.0.0.1");
    await once(socket, "connect");
    socket.write(`GET /v2/local/job-take/w1?gpu=cpu HTTP/1.1\r\nhost: ${host}\r\nauthorization: local\r\n\r\n`);
    await until(() => endpoint.held === 1);
    socket.resetAndDestroy();
    const id = await run();
    await until(() => endpoint.jobs()[0]?.status === "IN_QUEUE");
    const next = (await take("w2")).body;
    expect(next.id).toBe(id);
    expect(next).not.toHaveProperty("retries");
  });

  test("over a socket, its answer delayed by the script of troubles, gets no job when it leaves meanwhile", async () => {
    const { run, take, endpoint } = byHand({ faults: [{ operation: "job-take", delay: 500, when: "after" }] });
    const id = await run();
    const url = `${await endpoint.listen()}/local/job-take/w1?gpu=cpu`;
    const leave = new AbortController();
    const poll = fetch(url, { headers: { authorization: "local" }, signal: leave.signal });
    poll.catch(() => {});
    await until(() => endpoint.jobs()[0]?.status === "IN_PROGRESS");
    leave.abort(new Error("gone"));
    await until(() => endpoint.jobs()[0]?.status === "IN_QUEUE");
    expect((await take("w2")).body.id).toBe(id);
  });

  test("asked again by the same worker, the earlier poll is answered 204 and only the later gets the job", async () => {
    const { run, take, clock } = byHand();
    const earlier = watch(take());
    await settle();
    const later = watch(take());
    // Not at once: two workers of one id would take turns without a pause.
    await clock.pass(499);
    expect(earlier.reply).toBeUndefined();
    await clock.pass(1);
    expect(earlier.reply?.status).toBe(204);
    const id = await run();
    expect(later.reply?.body.id).toBe(id);
  });

  test("is answered 204 when the endpoint closes", async () => {
    const { take, stops, endpoint } = byHand();
    const polls = [take(), stops()];
    await settle();
    await endpoint.close();
    expect((await Promise.all(polls)).map(({ status }) => status)).toEqual([204, 204]);
  });
});

describe("job-take-batch", () => {
  test("answers as many jobs as there are, at most as many as asked for", async () => {
    const { ask, run } = byHand();
    const ids = [await run({ a: 1 }), await run({ a: 2 }), await run({ a: 3 })];
    const taken = async (size: number) => {
      const { status, text } = await ask(`job-take-batch/w1?gpu=cpu&batch_size=${size}&job_in_progress=0`);
      const jobs: { id: string }[] = JSON.parse(text);
      return { status, ids: jobs.map(({ id }) => id) };
    };
    expect(await taken(2)).toEqual({ status: 200, ids: ids.slice(0, 2) });
    expect(await taken(4)).toEqual({ status: 200, ids: ids.slice(2) });
  });

  test("that is abandoned puts back all it got, in the old order and before what came later", async () => {
    const { ask, run, take, endpoint } = byHand({
      faults: [{ operation: "job-take-batch", delay: 500, when: "after" }],
    });
    const ids = [await run({ a: 1 }), await run({ a: 2 }), await run({ a: 3 })];
    const leave = new AbortController();
    const poll = ask("job-take-batch/w1?gpu=cpu&batch_size=3", undefined, { signal: leave.signal });
    poll.catch(() => {});
    await settle();
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(Array(3).fill("IN_PROGRESS"));
    ids.push(await run({ a: 4 }));
    leave.abort(new Error("gone"));
    await settle();
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(Array(4).fill("IN_QUEUE"));
    for (const id of ids) expect((await take("w2")).body.id).toBe(id);
  });

  test("is held like the other, and woken with an array", async () => {
    const { ask, run } = byHand();
    const poll = watch(ask("job-take-batch/w1?gpu=cpu&batch_size=4&job_in_progress=0"));
    await settle();
    expect(poll.reply).toBeUndefined();
    const id = await run({ a: 1 });
    expect(poll.reply?.body).toEqual([{ id, input: { a: 1 } }]);
  });
});

describe("job-done", () => {
  test.each([
    ["output", { output: { a: 1 } }, { status: "COMPLETED", output: { a: 1 } }],
    ["null output", { output: null }, { status: "COMPLETED", output: null }],
    ["nothing", {}, { status: "COMPLETED" }],
    ["an error", { error: "bad" }, { status: "FAILED", error: "bad" }],
    ["an error with output", { error: "bad", output: { a: 1 } }, { status: "FAILED", error: "bad", output: { a: 1 } }],
    ["an error that is no text", { error: { a: 1 } }, { status: "COMPLETED" }],
    ["an empty error", { error: "", output: 1 }, { status: "COMPLETED", output: 1 }],
  ])("with %s ends the job", async (_, body, shown) => {
    const { run, take, done, status, clock } = byHand();
    const id = await run();
    await clock.pass(30);
    await take();
    await clock.pass(50);
    expect((await done(id, body)).status).toBe(200);
    expect(await status(id)).toEqual({ id, workerId: "w1", delayTime: 30, executionTime: 50, ...shown });
  });

  test.each(["application/json", "application/x-www-form-urlencoded", "text/plain", undefined])(
    "is read as JSON when its content type is %s",
    async (type) => {
      const { ask, run, take, status } = byHand();
      const id = await run();
      await take();
      const headers = { authorization: "local", ...(type !== undefined && { "content-type": type }) };
      await ask(`job-done/w1/${id}?gpu=cpu&isStream=false`, { output: "x" }, { headers });
      expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "x" });
    },
  );

  test("keeps numbers that JavaScript cannot hold as they are written", async () => {
    const { ask, run, take, done } = byHand();
    const id = await run();
    await take();
    const output = '{"a": NaN, "b": [-Infinity, 12345678901234567890], "c": "\\"}{"}';
    await done(id, `{"output": ${output}, "other": 1}`);
    expect((await ask(`status/${id}`)).text).toContain(`"output":${output},"status":"COMPLETED"`);
  });

  test.each(["", "no JSON", "[1]", '{"output":'])("of %j is accepted and ignored: the job goes on", async (text) => {
    const { run, take, done, status } = byHand();
    const id = await run();
    await take();
    expect((await done(id, text)).status).toBe(200);
    expect((await status(id)).status).toBe("IN_PROGRESS");
  });

  test("a second time is accepted and ignored", async () => {
    const { run, take, done, status } = byHand();
    const id = await run();
    await take();
    for (const output of ["first", "second"]) expect((await done(id, { output })).status).toBe(200);
    expect((await done(id, { error: "late" })).status).toBe(200);
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "first" });
  });

  test("after a cancel is accepted and ignored", async () => {
    const { ask, run, take, done, status } = byHand();
    const id = await run();
    await take();
    await ask(`cancel/${id}`, {});
    expect((await done(id, { output: "late" })).status).toBe(200);
    expect(await status(id)).toEqual({ id, status: "CANCELLED" });
  });

  test("of a job that another worker has, or nobody, or that never was, is accepted and ignored", async () => {
    const { run, take, done, status } = byHand();
    const [held, waiting] = [await run(), await run()];
    await take("w1");
    for (const id of [held, waiting, "nope"]) {
      expect((await done(id, { output: "mine" }, "w2")).status).toBe(200);
    }
    expect((await status(held)).status).toBe("IN_PROGRESS");
    expect((await status(waiting)).status).toBe("IN_QUEUE");
  });

  test("with IN_PROGRESS is the progress of a job that runs, and nothing to one that has ended", async () => {
    const { run, take, done, status } = byHand();
    const id = await run();
    await take();
    for (const output of ["one", { step: 2 }]) {
      expect((await done(id, { status: "IN_PROGRESS", output })).status).toBe(200);
      expect(await status(id)).toMatchObject({ status: "IN_PROGRESS", output });
    }
    await done(id, { output: "result" });
    expect((await done(id, { status: "IN_PROGRESS", output: "late" })).status).toBe(200);
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "result" });
  });

  test("over the limit of results is refused, and the job COMPLETED without output", async () => {
    const { run, take, done, status } = byHand({ resultLimit: 1_000 });
    const ids = [await run(), await run()];
    for (const id of ids) expect((await take()).body.id).toBe(id);
    expect((await done(ids[0] ?? "", { output: "x".repeat(998) })).status).toBe(200);
    expect((await done(ids[1] ?? "", { output: "x".repeat(999) })).status).toBe(400);
    expect(await status(ids[0] ?? "")).toMatchObject({ status: "COMPLETED", output: expect.any(String) });
    expect(await status(ids[1] ?? "")).not.toHaveProperty("output");
    expect((await status(ids[1] ?? "")).status).toBe("COMPLETED");
  });

  test("with progress over the limit is ignored, and the job goes on", async () => {
    const lines: string[] = [];
    const { run, take, done, status, endpoint } = byHand({ onLog: (line) => lines.push(line) });
    const id = await run();
    await take();
    // Only a socket cuts what is too large.
    const response = await fetch(`${await endpoint.listen()}/local/job-done/w1/${id}?gpu=cpu&isStream=false`, {
      method: "POST",
      headers: { authorization: "local" },
      body: `{"status": "IN_PROGRESS", "output": "${"x".repeat(21 * 1024 * 1024)}"}`,
    });
    expect(response.status).toBe(200);
    expect(await status(id)).toEqual({ id, status: "IN_PROGRESS", workerId: "w1", delayTime: 0 });
    expect(lines.at(-1)).toMatch(/reported progress of \d{8} bytes, which is ignored/);
    await done(id, { output: 1 });
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: 1 });
  });

  test("with stopPod of a worker started by hand says that it should be replaced, and takes the result", async () => {
    const lines: string[] = [];
    const { run, take, done, status } = byHand({ onLog: (line) => lines.push(line) });
    const id = await run();
    await take();
    await done(id, { output: 1, stopPod: true });
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: 1 });
    expect(lines.at(-1)).toMatch(/^worker w1 should be replaced \(refresh_worker\)/);
  });
});

describe("job-stream", () => {
  test("adds what a job yields to its stream; the end counts as the generator's", async () => {
    const { ask, run, take, done, status } = byHand();
    const id = await run();
    await take();
    for (const output of ["a", null, { b: 1 }]) {
      expect((await ask(`job-stream/w1/${id}?gpu=cpu&isStream=false`, { output })).status).toBe(200);
    }
    await done(id, { output: [] }, "w1", "isStream=true");
    const stream = [{ output: "a" }, { output: null }, { output: { b: 1 } }];
    expect((await ask(`stream/${id}`)).body).toEqual({ status: "COMPLETED", stream });
    expect((await ask(`stream/${id}`)).body).toEqual({ status: "COMPLETED", stream: [] });
    expect(await status(id)).not.toHaveProperty("output");
  });

  test("takes a chunk over the limit that holds what JSON does not allow, cut into pieces", async () => {
    const { ask, run, take, done } = byHand();
    const id = await run();
    await take();
    // Python's older readers write such a thing, and its readers take it.
    const text = `${"x".repeat(1024 * 1024)}\n${"y".repeat(100)}`;
    expect((await ask(`job-stream/w1/${id}?gpu=cpu&isStream=false`, `{"output":"${text}"}`)).status).toBe(200);
    await done(id, { output: [] }, "w1", "isStream=true");
    const { stream } = (await ask(`stream/${id}`)).body;
    expect(stream.map(({ output }) => output).join("")).toBe(text);
    expect(stream).toHaveLength(2);
  });

  test("of a job that has ended, or that another worker has, is accepted and ignored", async () => {
    const { ask, run, take, done } = byHand();
    const [ended, held] = [await run(), await run()];
    await take();
    await done(ended, { output: 1 });
    await take();
    for (const [worker, id] of [
      ["w1", ended],
      ["w2", held],
      ["w2", "nope"],
    ]) {
      expect((await ask(`job-stream/${worker}/${id}?gpu=cpu`, { output: "late" })).status).toBe(200);
    }
    expect((await ask(`stream/${ended}`)).body.stream).toEqual([]);
    await done(held, { output: 1 });
    expect((await ask(`stream/${held}`)).body.stream).toEqual([]);
  });
});

describe("the lease of a job", () => {
  const lease = 40_000;

  /** As {@link byHand}, its workers having pinged once, as they do when they start. */
  async function pinging(options: LocalEndpointOptions = {}) {
    const side = byHand(options);
    for (const worker of ["w1", "w2"]) {
      const leave = new AbortController();
      side.take(worker, leave.signal).catch(() => {});
      await settle();
      await side.ping([], worker);
      leave.abort();
      await settle();
    }
    return side;
  }

  test("that nobody reports on ends by sending it out again once, then by failing it", async () => {
    const { run, take, status, clock, ask, endpoint } = await pinging();
    const id = await run({ a: 1 });
    await take("w1");
    await clock.pass(lease - 1);
    const early = watch(take("w2"));
    await settle();
    expect(early.reply).toBeUndefined();
    await clock.pass(1);
    expect(early.reply?.body).toEqual({ id, input: { a: 1 }, retries: 1 });
    expect(await status(id)).toMatchObject({ status: "IN_PROGRESS", retries: 1, workerId: "w2", delayTime: lease });
    expect(endpoint.workers().find((worker) => worker.id === "w1")?.state).toBe("gone");
    await clock.pass(lease);
    expect(await status(id)).toMatchObject({ status: "FAILED", error: "job timed out after 1 retries", retries: 1 });
    expect((await ask("health")).body.jobs).toMatchObject({ failed: 1, retried: 1, inProgress: 0, inQueue: 0 });
  });

  test("is never too short for a worker to be heard again, which pings once a second at most", async () => {
    const { run, take, ping, status, clock } = await pinging({ lease: 500 });
    const id = await run({ a: 1 });
    await take("w1");
    for (let time = 0; time < 10; time++) {
      await clock.pass(1_500);
      await ping([id]);
    }
    expect(await status(id)).toMatchObject({ status: "IN_PROGRESS" });
    expect((await status(id)).retries).toBeUndefined();
  });

  test("begins anew with each ping that lists the job, and with no other", async () => {
    const { run, take, ping, done, status, clock } = await pinging();
    const [kept, lost] = [await run({ kept: true }), await run({ lost: true })];
    expect((await take("w1")).body.id).toBe(kept);
    expect((await take("w2")).body.id).toBe(lost);
    for (let time = 0; time < 3 * lease; time += 10_000) {
      await clock.pass(10_000);
      expect((await ping([kept])).status).toBe(200);
      await ping([], "w2");
    }
    expect(await status(kept)).not.toHaveProperty("retries");
    expect(await status(lost)).toMatchObject({ status: "IN_PROGRESS", retries: 1 });
    await done(kept, { output: 1 });
    expect((await status(kept)).status).toBe("COMPLETED");
  });

  test("is not renewed by another worker's ping", async () => {
    const { run, take, ping, status, clock } = await pinging();
    const id = await run();
    await take("w1");
    for (let time = 0; time < lease; time += 10_000) {
      await clock.pass(10_000);
      await ping([id], "w2");
    }
    expect(await status(id)).toMatchObject({ retries: 1 });
  });

  test("over, the first worker's word no longer counts", async () => {
    const { run, take, done, status, clock } = await pinging();
    const id = await run();
    await take("w1");
    await clock.pass(lease);
    expect((await take("w2")).body).toMatchObject({ id, retries: 1 });
    expect((await done(id, { output: "from w1" }, "w1")).status).toBe(200);
    expect((await status(id)).status).toBe("IN_PROGRESS");
    await done(id, { output: "from w2" }, "w2");
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "from w2", workerId: "w2", retries: 1 });
  });

  test("over, the same worker may get the job again, and then its word counts", async () => {
    const { run, take, ping, done, status, clock } = await pinging();
    const id = await run();
    await take("w1");
    await clock.pass(lease);
    expect((await take("w1")).body).toMatchObject({ id, retries: 1 });
    // Its ping is about the job that it has now.
    await clock.pass(lease - 1);
    await ping([id], "w1");
    await clock.pass(1);
    await done(id, { output: "second try" }, "w1");
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "second try", retries: 1 });
  });

  test("ends with the job's return: one that was handed back and waits is not sent out again or timed out", async () => {
    const { run, ask, take, status, clock } = await pinging({
      executionTimeout: 30_000,
      faults: [{ operation: "job-take", skip: 2, delay: 1_000, when: "after" }],
    });
    const id = await run();
    const leave = new AbortController();
    take("w1", leave.signal).catch(() => {});
    await settle();
    expect((await status(id)).status).toBe("IN_PROGRESS");
    leave.abort();
    await settle();
    expect(await status(id)).toEqual({ id, status: "IN_QUEUE" });
    await clock.pass(10 * lease);
    expect(await status(id)).toEqual({ id, status: "IN_QUEUE" });
    expect((await ask("health")).body.jobs).toMatchObject({ inQueue: 1, inProgress: 0, retried: 0, failed: 0 });
  });

  test("over, the job counts as running while it waits, also when it is handed back once more", async () => {
    const { run, ask, take, status, clock } = await pinging({
      faults: [{ operation: "job-take", skip: 3, delay: 1_000, when: "after" }],
    });
    const id = await run();
    await take("w1");
    await clock.pass(lease);
    const waiting = await status(id);
    expect(waiting).toMatchObject({ status: "IN_PROGRESS", retries: 1 });
    const leave = new AbortController();
    take("w2", leave.signal).catch(() => {});
    await settle();
    leave.abort();
    await settle();
    expect(await status(id)).toMatchObject({ status: "IN_PROGRESS", retries: 1 });
    expect((await ask("health")).body.jobs).toMatchObject({ inQueue: 0, inProgress: 1 });
    expect((await take("w2")).body).toMatchObject({ id, retries: 1 });
  });

  test("does not run for a worker that never pings: it may be at work", async () => {
    const { run, take, done, status, clock } = byHand();
    const id = await run();
    await take();
    await clock.pass(5 * lease);
    expect(await status(id)).not.toHaveProperty("retries");
    await done(id, { output: 1 });
    expect((await status(id)).status).toBe("COMPLETED");
  });

  test.each([
    ["its first ping does not list the job", ({ ping }: WorkerSide) => ping([])],
    [
      "it asks for another job and says that it holds none",
      ({ ask }: WorkerSide) => ask("job-take/w1?job_in_progress=0"),
    ],
  ])("begins, for a worker that had not pinged, when %s", async (_, tell) => {
    const side = byHand();
    const { run, status, clock, ask } = side;
    const id = await run({});
    await ask("job-take/w1?job_in_progress=0");
    await clock.pass(1_000);
    watch(tell(side));
    await clock.pass(lease - 1);
    expect(await status(id)).not.toHaveProperty("retries");
    await clock.pass(1);
    expect(await status(id)).toMatchObject({ retries: 1 });
  });
});

describe("job-stop", () => {
  test("is held, then 204", async () => {
    const { stops, clock } = byHand();
    const poll = watch(stops());
    await clock.pass(9_999);
    expect(poll.reply).toBeUndefined();
    await clock.pass(50_001);
    expect(poll.reply?.status).toBe(204);
  });

  test("wakes with the job that was cancelled, and only its worker", async () => {
    const { ask, run, take, stops } = byHand();
    const ids = [await run(), await run()];
    await take("w1");
    await take("w2");
    const polls = [watch(stops("w1")), watch(stops("w2"))];
    await settle();
    await ask(`cancel/${ids[0]}`, {});
    await settle();
    expect(polls[0]?.reply?.body).toEqual({ jobsToStop: [ids[0]] });
    expect(polls[1]?.reply).toBeUndefined();
  });

  test("tells of what was cancelled before it was asked, once", async () => {
    const { ask, run, take, stops } = byHand();
    const ids = [await run(), await run()];
    for (const id of ids) {
      await take();
      await ask(`cancel/${id}`, {});
    }
    const reply = await stops();
    expect(reply.headers.get("content-type")).toBe("application/json");
    expect(reply.body).toEqual({ jobsToStop: ids });
    const again = watch(stops());
    await settle();
    expect(again.reply).toBeUndefined();
  });

  test("tells again while pings list the job, since a worker drops a stop for what it has not begun", async () => {
    const { ask, run, take, stops, ping } = byHand();
    const id = await run();
    await take();
    await ask(`cancel/${id}`, {});
    expect((await stops()).body).toEqual({ jobsToStop: [id] });
    await ping([id]);
    expect((await stops()).body).toEqual({ jobsToStop: [id] });
    await ping([]);
    const poll = watch(stops());
    await settle();
    expect(poll.reply).toBeUndefined();
  });

  test("abandoned around the moment of a cancel has told of it, or the next poll does", async () => {
    const outcomes = new Set<string>();
    for (let step = 0; step < 100; step++) {
      const { ask, run, take, stops } = byHand();
      const id = await run();
      await take();
      const leave = new AbortController();
      const poll = watch(ask("job-stop/w1?gpu=cpu", undefined, { signal: leave.signal }));
      await settle();
      const cancelled = ask(`cancel/${id}`, {});
      await steps(step);
      leave.abort(new Error("gone"));
      await cancelled;
      await settle();
      outcomes.add(poll.reply === undefined ? "told again" : "told");
      const { body } = poll.reply ?? (await stops());
      expect(body).toEqual({ jobsToStop: [id] });
    }
    expect([...outcomes].sort()).toEqual(["told", "told again"]);
  });

  test("is woken by a ping that lists a job which should have been stopped", async () => {
    const { ask, run, take, stops, ping } = byHand();
    const id = await run();
    await take();
    await ask(`cancel/${id}`, {});
    await stops();
    const poll = watch(stops());
    // A worker without pings has let go of what it was told of, and so the ping alone says otherwise.
    await ping();
    const other = await run();
    await take();
    await ping([other]);
    await ask(`cancel/${other}`, {});
    await settle();
    expect(poll.reply?.body).toEqual({ jobsToStop: [other] });
    const again = watch(stops());
    await settle();
    expect(again.reply).toBeUndefined();
    await ping([other]);
    await settle();
    expect(again.reply?.body).toEqual({ jobsToStop: [other] });
  });

  test("asked twice at a time tells one of them, whichever leaves", async () => {
    for (const leaver of [0, 1]) {
      const { ask, run, take } = byHand();
      const id = await run();
      await take();
      const leave = [new AbortController(), new AbortController()];
      const polls = leave.map(({ signal }) => watch(ask("job-stop/w1?gpu=cpu", undefined, { signal })));
      await settle();
      leave[leaver]?.abort(new Error("gone"));
      await settle();
      await ask(`cancel/${id}`, {});
      await settle();
      // The later one is woken; where that has left, it is the next to ask who is told.
      if (leaver === 1) expect((await ask("job-stop/w1?gpu=cpu")).body).toEqual({ jobsToStop: [id] });
      else expect(polls[1]?.reply?.body).toEqual({ jobsToStop: [id] });
    }
  });

  test("does not tell a worker to stop what it got anew", async () => {
    const { ask, run, take, stops, ping, done, status, clock } = byHand();
    const id = await run({ a: 1 }, { policy: { executionTimeout: 50_000 } });
    await take();
    await clock.pass(50_000);
    expect((await status(id)).status).toBe("FAILED");
    await ask(`retry/${id}`, {});
    expect((await ask("job-take/w1?job_in_progress=1")).body.id).toBe(id);
    const poll = watch(stops());
    await settle();
    await ping([id]);
    await clock.pass(30_000);
    expect(poll.reply?.text).toBe("");
    await done(id, { output: "second" });
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "second" });
  });

  test("asked for again says that a worker without pings has let go of what it was told", async () => {
    const { ask, run, take, stops, endpoint } = byHand();
    let poll = watch(stops());
    for (let job = 0; job < 3; job++) {
      const id = await run();
      expect((await ask("job-take/w1?job_in_progress=1")).body.id).toBe(id);
      await ask(`cancel/${id}`, {});
      await settle();
      expect(poll.reply?.body).toEqual({ jobsToStop: [id] });
      expect(endpoint.workers()[0]?.jobs).toEqual([id]);
      poll = watch(stops());
      await settle();
      expect(endpoint.workers()[0]?.jobs).toEqual([]);
    }
    watch(take());
    await settle();
    expect(endpoint.workers()).toMatchObject([{ id: "w1", state: "idle" }]);
  });

  test.each([
    ["its execution time-out is over", { policy: { executionTimeout: 5_000 } }, 5_000],
    ["its time to live is over", { policy: { ttl: 10_000 } }, 10_000],
  ])("tells of a job when %s", async (_, rest, milliseconds) => {
    const { run, take, stops, ping, clock } = byHand();
    const id = await run({ a: 1 }, rest);
    await take();
    const poll = watch(stops());
    await ping([id]);
    await clock.pass(milliseconds - 1);
    expect(poll.reply).toBeUndefined();
    await clock.pass(1);
    expect(poll.reply?.body).toEqual({ jobsToStop: [id] });
  });
});

describe("a worker that came by itself", () => {
  test("is counted, shown with its jobs, and forgotten when it is not heard of any more", async () => {
    const { ask, run, take, done, endpoint, clock } = byHand();
    expect(endpoint.workers()).toEqual([]);
    const poll = watch(take("by-hand"));
    await settle();
    expect(endpoint.workers()).toMatchObject([{ id: "by-hand", state: "idle", jobs: [] }]);
    const id = await run();
    expect(poll.reply?.body.id).toBe(id);
    expect(endpoint.workers()).toMatchObject([{ id: "by-hand", state: "running", jobs: [id] }]);
    expect((await ask("health")).body.workers).toMatchObject({ running: 1 });
    await done(id, { output: 1 }, "by-hand");
    expect(endpoint.workers()).toMatchObject([{ id: "by-hand", state: "idle", jobs: [] }]);
    await clock.pass(600_000);
    expect(endpoint.workers().filter(({ state }) => state !== "gone")).toEqual([]);
    expect((await ask("health")).body.workers).toMatchObject({ running: 0 });
  });

  test("whose check failed is in the log with the reason", async () => {
    const lines: string[] = [];
    const { ask } = byHand({ onLog: (line) => lines.push(line) });
    const reason = encodeURIComponent("Insufficient memory: 1.0GB available");
    await ask(`ping/w1?gpu=cpu&status=unhealthy&check=_memory_check&reason=${reason}&runpod_version=1.12.0`);
    expect(lines).toEqual([expect.stringMatching(/w1.*_memory_check.*Insufficient memory: 1\.0GB available/)]);
  });

  test.each(["local", "Bearer local"])("is let in with the key as %j", async (authorization) => {
    const { ask, run } = byHand();
    const id = await run();
    expect((await ask("job-take/anyone?gpu=cpu", undefined, { headers: { authorization } })).body.id).toBe(id);
  });

  test.each([
    "job-take/w1",
    "job-take-batch/w1?batch_size=2",
    "job-stop/w1",
    "ping/w1",
    "job-done/w1/ID",
    "job-stream/w1/ID",
  ])("is refused with another key (%s), though not at once: it asks again without a pause", async (path) => {
    const { ask, run, take, status, clock } = byHand();
    const id = await run();
    const isPost = path.endsWith("ID");
    if (isPost) await take();
    const headers = { authorization: "wrong" };
    const poll = watch(ask(path.replace("ID", id), isPost ? { output: "x" } : undefined, { headers }));
    await clock.pass(100);
    expect(poll.reply).toBeUndefined();
    await clock.pass(900);
    expect(poll.reply?.status).toBe(401);
    expect((await status(id)).status).toBe(isPost ? "IN_PROGRESS" : "IN_QUEUE");
  });

  test.each(["job-take/w1", "job-take-batch/w1?batch_size=2", "job-stop/w1", "ping/w1"])(
    "of another endpoint is refused late too, since it asks again at once (%s)",
    async (path) => {
      const { endpoint, clock } = byHand();
      let code = 0;
      void endpoint
        .fetch(`http://local.test/v2/another/${path}`, { headers: { authorization: "local" } })
        .then(({ status }) => {
          code = status;
        });
      await clock.pass(499);
      expect(code).toBe(0);
      await clock.pass(1);
      expect(code).toBe(404);
    },
  );

  test("with another key is told of once in the log, however often it asks", async () => {
    const lines: string[] = [];
    const { ask, clock } = byHand({ onLog: (line) => lines.push(line) });
    for (let time = 0; time < 3; time++) {
      const poll = ask("job-take/w1", undefined, { headers: { authorization: "wrong" } });
      await clock.pass(500);
      expect((await poll).status).toBe(401);
    }
    expect(lines).toEqual([
      "worker w1 is refused: set RUNPOD_AI_API_KEY to this endpoint's key, and check ~/.runpod/config.toml for a key that overrides it",
    ]);
  });

  test("twice under one id makes no whirl of answers", async () => {
    const { take, clock } = byHand();
    let answers = 0;
    let isOver = false;
    const poll = async () => {
      while (!isOver) {
        await take();
        answers++;
      }
    };
    void poll();
    void poll();
    await clock.pass(10_000);
    isOver = true;
    // One of them each half second, when the other's poll takes its place.
    expect(answers).toBeLessThanOrEqual(20);
  });

  test.each(["job-take", "job-take/", "job-stop", "ping"])("must say who it is (%s)", async (path) => {
    const { ask } = byHand();
    expect((await ask(path)).status).toBe(404);
  });
});

describe("the script of troubles", () => {
  test("may name a worker's operations, and spares them otherwise", async () => {
    const { ask, run, take, endpoint } = byHand();
    const id = await run();
    endpoint.faults.add({ respond: { status: 503 } });
    endpoint.faults.add({ operation: "job-take", respond: { status: 502 } });
    expect((await take()).status).toBe(502);
    expect((await take()).body.id).toBe(id);
    expect((await ask("health")).status).toBe(503);
  });

  test("cut off while a job is handed out, the job is lost as it would be on the service, and goes out again", async () => {
    const { run, take, ping, endpoint, clock } = byHand();
    const id = await run();
    endpoint.faults.add({ operation: "job-take", reset: true, when: "after" });
    await expect(take()).rejects.toThrow("fetch failed");
    await ping();
    await clock.pass(40_000);
    expect((await take("w2")).body).toMatchObject({ id, retries: 1 });
  });

  test("leaves the workers' requests out of the record", async () => {
    const { run, take, endpoint } = byHand();
    await run();
    await take();
    expect(endpoint.requests.map(({ operation }) => operation)).toEqual(["run"]);
  });
});

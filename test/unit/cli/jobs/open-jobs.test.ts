import { describe, expect, test } from "vitest";
import { OpenJobs, type SubmissionWatcher } from "../../../../src/cli/jobs/open-jobs.ts";
import { deferred } from "../../../helpers/deferred.ts";

const address = "https://api.example.com/v2/abc/run";
const post = { method: "POST", body: "{}" };
const queued = () => Response.json({ id: "job-1", status: "IN_QUEUE" });

/** A watcher that keeps what it is told, in order. */
function watching(more: Partial<SubmissionWatcher> = {}) {
  const told: string[] = [];
  const watcher: SubmissionWatcher = {
    onSend: async () => void told.push("send"),
    onJob: async (id) => void told.push(id),
    onNoJob: async (arrived) => void told.push(arrived),
    ...more,
  };
  return { told, watcher };
}

describe("a submission that is watched", () => {
  test("is told before it is sent, and its job before the client has it", async () => {
    const { told, watcher } = watching();
    const send = async () => {
      told.push("sent");
      return queued();
    };
    const answer = await new OpenJobs(send).fetchFor(watcher)(address, post);
    expect(told).toEqual(["send", "sent", "job-1"]);
    expect(await answer.json()).toEqual({ id: "job-1", status: "IN_QUEUE" });
  });

  test("is not sent where that cannot be told", async () => {
    const { watcher } = watching({ onSend: () => Promise.reject(new Error("no space")) });
    let isSent = false;
    const send = async () => {
      isSent = true;
      return queued();
    };
    await expect(new OpenJobs(send).fetchFor(watcher)(address, post)).rejects.toThrow("no space");
    expect(isSent).toBe(false);
  });

  const broken = (code: string) => () =>
    Promise.reject(new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) }));

  test.each([
    ["too many requests", async () => new Response("", { status: 429 }), "no"],
    ["a wrong request", async () => new Response("{}", { status: 400 }), "no"],
    ["nobody who listens", broken("ECONNREFUSED"), "no"],
    ["a gateway's error", async () => new Response("<html>", { status: 502 }), "unknown"],
    ["something that is no job", async () => new Response("<html>"), "unknown"],
    ["a connection that broke", broken("ECONNRESET"), "unknown"],
  ])("and meets %s: %s", async (_, send, arrived) => {
    const { told, watcher } = watching();
    await new OpenJobs(send)
      .fetchFor(watcher)(address, post)
      .catch(() => {});
    expect(told).toEqual(["send", arrived]);
  });

  test("is let through as it arrives where the service holds it: the image is in its answer", async () => {
    const { told, watcher } = watching();
    const { promise: rest, resolve } = deferred();
    const text = JSON.stringify({ id: "job-1", status: "COMPLETED", output: {} });
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(Buffer.from(text.slice(0, 20)));
        await rest;
        controller.enqueue(Buffer.from(text.slice(20)));
        controller.close();
      },
    });
    const fetch = new OpenJobs(async () => new Response(body)).fetchFor(watcher);
    const answer = await fetch(address.replace("/run", "/runsync?wait=60000"), post);
    expect(told).toEqual(["send"]);
    resolve();
    expect(await answer.text()).toBe(text);
    await expect.poll(() => told).toEqual(["send", "job-1"]);
  });

  test("and other requests are left alone", async () => {
    const { told, watcher } = watching();
    const fetch = new OpenJobs(async () => queued()).fetchFor(watcher);
    await fetch(address.replace("/run", "/status/run"), { method: "GET" });
    await fetch(address.replace("/run", "/cancel/job-1"), post);
    expect(told).toEqual([]);
  });
});

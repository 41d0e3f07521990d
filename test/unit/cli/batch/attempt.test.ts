import { describe, expect, test } from "vitest";
import { Attempt, isOver } from "../../../../src/cli/batch/attempt.ts";
import { Manifest, readManifest } from "../../../../src/cli/batch/manifest.ts";
import { ConnectionError, JobFailedError, SubmissionUnknownError } from "../../../../src/errors/index.ts";
import { temporaryFolder } from "../fake-terminal.ts";

async function scene(job?: { id: string; seed: number }) {
  const folder = await temporaryFolder();
  const manifest = await Manifest.open(folder);
  const stop = new AbortController();
  const broken: unknown[] = [];
  const task = { position: 1, line: 2, input: { prompt: "a" }, key: "k", file: "a.png", ...(job && { job }) };
  const onBroken = (error: unknown) => broken.push(error);
  const attempt = new Attempt(task, { manifest, endpoint: "here", signal: stop.signal, onBroken });
  const states = async () => (await readManifest(folder)).lines.map(({ state }) => state);
  return { attempt, manifest, stop, broken, states };
}

describe("an attempt", () => {
  test("is written down before it is sent, and as soon as there is a job", async () => {
    const { attempt, states } = await scene();
    attempt.startAnew(7);
    await attempt.onSend();
    expect(await states()).toEqual(["submitting"]);
    expect(attempt.isInDoubt).toBe(true);
    // A try that the service had no room for, and the next.
    await attempt.onNoJob("no");
    expect(attempt.isInDoubt).toBe(false);
    await attempt.onSend();
    await attempt.onJob("job-1");
    expect(await states()).toEqual(["submitting", "not_submitted", "submitting", "submitted"]);
    expect(attempt).toMatchObject({ jobId: "job-1", seed: 7, isInDoubt: false });
  });

  test("that cannot be written down is not sent", async () => {
    const { attempt, manifest, broken } = await scene();
    await manifest.close();
    await expect(attempt.onSend()).rejects.toThrow(/Cannot write .*manifest\.jsonl/);
    expect(broken).toHaveLength(1);
    expect(attempt.isInDoubt).toBe(false);
  });

  test("is not sent once the user has given up", async () => {
    const { attempt, stop, states } = await scene();
    stop.abort(new Error("enough"));
    await expect(attempt.onSend()).rejects.toThrow("enough");
    expect(await states()).toEqual([]);
  });

  test("is not sent when the user gives up while it is written down", async () => {
    const { attempt, stop, states } = await scene();
    const sending = attempt.onSend();
    stop.abort(new Error("enough"));
    await expect(sending).rejects.toThrow("enough");
    expect(await states()).toEqual(["submitting", "not_submitted"]);
  });

  test("stands open after an error that says nothing about its job", async () => {
    const { attempt } = await scene({ id: "job-1", seed: 7 });
    expect(attempt.stateAfter(new ConnectionError("gone", { arrived: "unknown", jobId: "job-1" }))).toBe("open");
    expect(attempt.stateAfter(new Error("no space"))).toBe("open");
    const failed = new JobFailedError("failed", { jobId: "job-1" });
    expect(isOver(failed)).toBe(true);
    expect(attempt.stateAfter(failed)).toBe("failed");
  });

  test("without a job has failed, or is in doubt", async () => {
    const { attempt } = await scene();
    expect(attempt.stateAfter(new ConnectionError("refused", { arrived: "no" }))).toBe("failed");
    expect(attempt.stateAfter(new SubmissionUnknownError("cut"))).toBe("unknown");
    await attempt.onSend();
    await attempt.onNoJob("unknown");
    expect(attempt.stateAfter(new Error("whatever"))).toBe("unknown");
  });
});

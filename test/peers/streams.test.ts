import { afterAll, beforeAll, describe, test } from "vitest";
import { openPeer, type Peer } from "./peer.ts";
import { workerCommand } from "./python.ts";
import { until } from "./until.ts";

/** All chunks of a job, read as the service wants it: until it has ended and nothing is left. */
async function readStream(peer: Peer, id: string): Promise<{ chunks: unknown[]; status: string }> {
  const chunks: unknown[] = [];
  for (;;) {
    const { body } = await peer.ask(`stream/${id}`);
    chunks.push(...body.stream.map(({ output }) => output));
    const isOver = body.status !== "IN_QUEUE" && body.status !== "IN_PROGRESS";
    if (isOver && body.stream.length === 0) return { chunks, status: body.status };
  }
}

const values = ["a", { b: [1] }, null, "", 0];

for (const kind of ["sync", "async"]) {
  for (const aggregate of [false, true]) {
    describe.concurrent(`a ${kind} generator ${aggregate ? "with" : "without"} return_aggregate_stream`, () => {
      let peer: Peer;
      beforeAll(async () => {
        const command = workerCommand("streaming", kind, ...(aggregate ? ["aggregate"] : []));
        peer = await openPeer({ worker: { command } });
      });
      afterAll(() => peer.close());

      test("streams each chunk once, as it comes", async ({ expect }) => {
        const gate = peer.gate();
        const id = await peer.run({ chunks: [...values, "last"], gate: gate.path });
        const early: unknown[] = [];
        while (early.length < values.length) {
          const { body } = await peer.ask(`stream/${id}`);
          expect(["IN_QUEUE", "IN_PROGRESS"]).toContain(body.status);
          early.push(...body.stream.map(({ output }) => output));
        }
        expect(early).toEqual(values);
        gate.open();
        expect(await readStream(peer, id)).toEqual({ chunks: ["last"], status: "COMPLETED" });
        const { body } = await peer.ask(`status/${id}`);
        if (aggregate) expect(body.output).toEqual([...values, "last"]);
        else expect(body).not.toHaveProperty("output");
      });

      test("that raises keeps its chunks and ends FAILED with message and traceback as plain text", async ({
        expect,
      }) => {
        const id = await peer.run({ chunks: ["a", "b"], error: "no more" });
        expect(await readStream(peer, id)).toEqual({ chunks: ["a", "b"], status: "FAILED" });
        const { body } = await peer.ask(`status/${id}`);
        expect(body.error).toMatch(/^handler: no more \ntraceback: Traceback/);
        expect(body).not.toHaveProperty("output");
      });

      test("that yields an error ends there", async ({ expect }) => {
        const id = await peer.run({ chunks: ["a", { error: "bad" }, "never"] });
        expect(await readStream(peer, id)).toEqual({ chunks: ["a"], status: "FAILED" });
        expect((await peer.ask(`status/${id}`)).body.error).toBe("bad");
      });

      test("takes no refresh_worker among its chunks for an order", async ({ expect }) => {
        const id = await peer.run({ chunks: [{ refresh_worker: true }] });
        expect((await readStream(peer, id)).chunks).toEqual([{ refresh_worker: true }]);
        const { workerId } = (await peer.ask(`status/${id}`)).body;
        expect(peer.isUp(workerId)).toBe(true);
      });

      test("that is cancelled stops between two chunks, and its worker takes the next job", async ({ expect }) => {
        const id = await peer.run({ chunks: ["a"], endless: true });
        // An answer is held for a moment only: on a busy machine the first may come before the first chunk.
        await until("a chunk", async () => (await peer.ask(`stream/${id}`)).body.stream.length > 0);
        const { workerId } = (await peer.ask(`status/${id}`)).body;
        expect((await peer.ask(`cancel/${id}`, "")).body).toEqual({ id, status: "CANCELLED" });
        await peer.log.waitFor(new RegExp(`${workerId}.*${id}.*(Job stopped|Finished running generator)`));
        expect((await readStream(peer, id)).status).toBe("CANCELLED");
        expect((await peer.done({ chunks: ["b"] })).status).toBe("COMPLETED");
        expect(peer.isUp(workerId)).toBe(true);
      });
    });
  }
}

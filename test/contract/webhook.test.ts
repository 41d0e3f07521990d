import { expect, test } from "vitest";
import { parseWebhook, type WebhookEvent } from "../../src/index.ts";
import { picture, stage } from "../helpers/local.ts";
import { turns } from "../helpers/manual-clock.ts";
import { serveInTest } from "../helpers/serve-in-test.ts";

const secret = "a long secret";

/** A receiver that answers with each status in turn, and keeps what `parseWebhook` makes of the calls. */
async function receiver(statuses: number[]) {
  const events: WebhookEvent[] = [];
  const port = await serveInTest(async (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const request = new Request(`http://receiver${incoming.url}`, { method: "POST", body: Buffer.concat(chunks) });
    events.push(await parseWebhook(request, { secret }));
    outgoing.writeHead(statuses[events.length - 1] ?? 200).end();
  });
  return { events, webhook: `http://127.0.0.1:${port}/hook?secret=${encodeURIComponent(secret)}` };
}

async function until(condition: () => boolean, step: () => void = () => {}): Promise<void> {
  while (!condition()) {
    await turns();
    step();
  }
}

test("a completed job's webhook gives the image; the same end may come three times, told apart by id", async () => {
  const { events, webhook } = await receiver([500, 500, 200]);
  const { client, drive, clock } = await stage();
  const job = await drive(client().submit("a red apple", { webhook }));
  await until(
    () => events.length === 3,
    () => clock.advance(1_000),
  );
  expect(new Set(events.map(({ id }) => id))).toEqual(new Set([job.id]));
  expect(events[0]?.image?.width).toBe(8);
  expect(Buffer.from(events[0]?.image?.bytes ?? []).toString("base64")).toBe(picture.image_base64);
});

test("a failed job's webhook gives its error, and the echoed input is in raw", async () => {
  const { events, webhook } = await receiver([200]);
  const { client, drive } = await stage({ worker: () => ({ error: "no" }) });
  await drive(client().submit("a red apple", { webhook }));
  await until(() => events.length === 1);
  expect(events[0]?.error).toMatchObject({ code: "job_failed", failure: { message: "no" } });
  expect(JSON.parse(events[0]?.state.raw ?? "")).toMatchObject({ input: { prompt: "a red apple" }, webhook });
});

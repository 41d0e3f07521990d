import { expect, it } from "vitest";
import { startS3 } from "../helpers/s3-server.ts";
import { until } from "../peers/until.ts";
import { endsWithTest, launchPage, pageOfS3, startCluster } from "./cluster.ts";
import { outputOf, promptIn } from "./images.ts";

async function stage() {
  const s3 = endsWithTest(await startS3());
  const env = { S3_ENDPOINT: s3.url, S3_KEY_ID: s3.accessKeyId, S3_SECRET: s3.secretAccessKey };
  const cluster = endsWithTest(
    await startCluster({
      launch: launchPage(pageOfS3(), env),
      endpoint: { worker: ({ input }) => outputOf(input, 100_000) },
      count: 2,
    }),
  );
  const post = (instance: number, path: string, body: object) =>
    fetch(`${cluster.instances[instance]?.url}/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  return { ...cluster, s3, post };
}

it("an image that one instance made lies in S3, and another instance serves it", async () => {
  const { s3, post, instances, nginx } = await stage();
  const made = await post(0, "alpha/v1/txt2img", { prompt: "a red apple" });
  expect(made.status).toBe(200);
  const { url, filename }: { url: string; filename: string } = await made.json();
  expect(await s3.keys()).toEqual([filename]);
  expect(url).toBe(`${nginx.url}/alpha/v1/file/${filename}`);
  for (const base of [instances[1]?.url, nginx.url]) {
    const served = await fetch(`${base}/alpha/v1/file/${filename}`);
    expect([served.status, served.headers.get("content-type")]).toEqual([200, "image/png"]);
    const bytes = Buffer.from(await served.arrayBuffer());
    expect(promptIn(bytes)).toBe("a red apple");
    expect(bytes.equals(await s3.read(filename))).toBe(true);
  }
  const missing = await fetch(`${nginx.url}/alpha/v1/file/${filename.replace(/_\d+_/, "_1_")}`);
  expect(missing.status).toBe(404);
});

it("an image that nobody asks for again is stored through the webhook, behind the balancer", async () => {
  const { s3, post, nginx } = await stage();
  const submitted = await post(1, "run", { input: { prompt: "a pear" } });
  expect(submitted.status).toBe(200);
  await until("the image to be stored", async () => (await s3.keys()).length === 1);
  const [filename = ""] = await s3.keys();
  expect(promptIn(await s3.read(filename))).toBe("a pear");
  const served = await fetch(`${nginx.url}/alpha/v1/file/${filename}`);
  expect(promptIn(new Uint8Array(await served.arrayBuffer()))).toBe("a pear");
});

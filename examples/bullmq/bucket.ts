// A bucket of S3 or of a store that speaks as it does. S3_URL is the bucket's address, such as
// https://my-bucket.s3.eu-central-1.amazonaws.com; the key is in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
import { AwsClient } from "aws4fetch";
import { setting } from "./queue.ts";

const address = setting("S3_URL").replace(/\/$/, "");
const s3 = new AwsClient({
  accessKeyId: setting("AWS_ACCESS_KEY_ID"),
  secretAccessKey: setting("AWS_SECRET_ACCESS_KEY"),
  service: "s3",
  region: process.env["AWS_REGION"] ?? "us-east-1",
});

export async function hasImage(key: string): Promise<boolean> {
  const { ok, status } = await s3.fetch(`${address}/${key}`, { method: "HEAD" });
  if (!ok && status !== 404) throw new Error(`S3 answered ${status} to HEAD ${key}.`);
  return ok;
}

export async function putImage(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const headers = { "content-type": "image/png" };
  const { ok, status } = await s3.fetch(`${address}/${key}`, { method: "PUT", headers, body: bytes });
  if (!ok) throw new Error(`S3 answered ${status} to PUT ${key}.`);
}

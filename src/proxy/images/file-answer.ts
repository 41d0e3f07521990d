import { encodeBase64Url } from "../access/signer.ts";

/** A name always stands for the same image, so the answer may be cached for good. Privately, since the name is a secret. */
const cacheControl = "private, max-age=31536000, immutable";

/** Answers GET and HEAD for a PNG, with conditional requests and single ranges. RFC 9110, 13 and 14. */
export async function fileAnswer(request: Request, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<Response> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const etag = `"${encodeBase64Url(digest.subarray(0, 18))}"`;
  const isInline = new URL(request.url).searchParams.has("inline");
  const headers = new Headers({
    "accept-ranges": "bytes",
    "cache-control": cacheControl,
    "content-disposition": `${isInline ? "inline" : "attachment"}; filename="${name}"`,
    "content-security-policy": "default-src 'none'; sandbox",
    // Isolated pages may show the image too, like everyone who has its name.
    "cross-origin-resource-policy": "cross-origin",
    etag,
  });
  if (matches(request.headers.get("if-none-match"), etag)) return new Response(null, { status: 304, headers });
  headers.set("content-type", "image/png");
  const range = rangeOf(request, etag, bytes.length);
  if (range === "none") {
    headers.set("content-range", `bytes */${bytes.length}`);
    headers.delete("content-disposition");
    headers.delete("content-type");
    headers.set("cache-control", "no-store");
    return new Response(null, { status: 416, headers });
  }
  const part = range ? bytes.subarray(range.first, range.last + 1) : bytes;
  if (range) headers.set("content-range", `bytes ${range.first}-${range.last}/${bytes.length}`);
  headers.set("content-length", String(part.length));
  return new Response(request.method === "HEAD" ? null : part, { status: range ? 206 : 200, headers });
}

function matches(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch === null) return false;
  return ifNoneMatch.split(",").some((each) => each.trim() === "*" || each.trim().replace(/^W\//, "") === etag);
}

/** Returns the requested range, `"none"` if it lies outside, or `undefined` for the whole file, also if several are requested. */
function rangeOf({ method, headers }: Request, etag: string, size: number) {
  const ifRange = headers.get("if-range");
  if (method !== "GET" || (ifRange !== null && ifRange !== etag)) return undefined;
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(headers.get("range")?.trim() ?? "") ?? [];
  if (from === undefined || to === undefined || (from === "" && to === "")) return undefined;
  if (from === "") return Number(to) === 0 ? "none" : { first: Math.max(0, size - Number(to)), last: size - 1 };
  if (to !== "" && Number(to) < Number(from)) return undefined;
  if (Number(from) >= size) return "none";
  return { first: Number(from), last: to === "" ? size - 1 : Math.min(Number(to), size - 1) };
}

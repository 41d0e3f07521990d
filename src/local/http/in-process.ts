import type { Answer, Call } from "./exchange.ts";

type Handle = (call: Call) => Promise<Answer>;

/** Answers a `Request` without a socket. A broken connection becomes the error that `fetch` has for it. */
export async function answerRequest(handle: Handle, request: Request): Promise<Response> {
  request.signal.throwIfAborted();
  const text = request.body === null ? "" : await request.text();
  const url = new URL(request.url);
  const answer = await handle({
    method: request.method,
    pathname: url.pathname,
    query: url.searchParams,
    headers: Object.fromEntries(request.headers),
    body: text,
    bodyBytes: Buffer.byteLength(text),
    isLocal: true,
    signal: request.signal,
  });
  if (request.signal.aborted) answer.undelivered?.();
  request.signal.throwIfAborted();
  if (answer.broken === "reset") throw brokenConnection("fetch failed", "ECONNRESET");
  const { status } = answer;
  const hasBody = answer.body.length > 0 && status !== 204 && status !== 205 && status !== 304;
  const whole = typeof answer.body === "string" ? answer.body : new Blob([Uint8Array.from(answer.body)]);
  const body = !hasBody ? null : answer.broken === "cut" ? cutBody(answer.body) : whole;
  return new Response(body, { status, headers: answer.headers });
}

/** Half of the body, then the error of a connection that ended too early. */
function cutBody(body: string | Uint8Array): ReadableStream<Uint8Array> {
  const bytes = Buffer.from(body);
  let sent = false;
  return new ReadableStream({
    pull(controller) {
      if (sent) controller.error(brokenConnection("terminated", "UND_ERR_SOCKET"));
      else controller.enqueue(bytes.subarray(0, bytes.length >> 1));
      sent = true;
    },
  });
}

function brokenConnection(message: string, code: string): TypeError {
  return new TypeError(message, { cause: Object.assign(new Error("the connection was broken"), { code }) });
}

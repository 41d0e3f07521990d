import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ConnectionError } from "../../../src/errors/index.ts";
import { connectionError } from "../../../src/runpod/http-errors.ts";
import { expectClass, rejectionOf } from "../../helpers/failures.ts";
import { startTcpServer } from "../../helpers/http-server.ts";
import { run } from "../../helpers/run.ts";

/* The runtime's own errors, from real sockets. Those of other runtimes: test/runtime and http.test.ts. */

const submission = { method: "POST", path: "run" };

describe("a submission over a connection", () => {
  it.each([
    ["leaves during the TLS handshake", (socket: Socket) => socket.end()],
    ["resets the TLS handshake", (socket: Socket) => socket.once("data", () => socket.resetAndDestroy())],
    ["speaks no TLS", (socket: Socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")],
  ])("whose other side %s never arrived", async (_what, onConnection) => {
    await using server = await startTcpServer((socket) => {
      socket.on("error", () => {});
      onConnection(socket);
    });
    const failure = await rejectionOf(fetch(server.url.replace("http:", "https:"), { method: "POST", body: "{}" }));
    const error = connectionError("POST /run", submission, failure, (text) => text);
    expect(expectClass(error, ConnectionError)).toMatchObject({ arrived: "no", retryable: true });
    expect(error.message).not.toContain("\n");
  });

  const program = fileURLToPath(new URL("../../helpers/submits-by-proxy.mjs", import.meta.url));
  const sources = fileURLToPath(new URL("../../helpers/run-from-source.ts", import.meta.url));

  it.each([
    [403, false],
    [407, false],
    [502, true],
    [503, true],
  ])(
    "through a proxy that answers the CONNECT with %i never arrived (worth another try: %s)",
    async (status, retryable) => {
      const server = createServer().on("connect", (_request, socket) => {
        socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      try {
        const proxy = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        const env = { HTTPS_PROXY: proxy, NODE_USE_ENV_PROXY: "1" };
        const { stdout, stderr } = await run(process.execPath, ["--import", sources, program], { cwd: "/", env });
        expect(stderr.replace(/^.*(Warning|--trace-warnings).*$/gm, "").trim()).toBe("");
        expect(JSON.parse(stdout)).toEqual({ code: "connection", arrived: "no", submitted: "no", retryable });
      } finally {
        server.close();
      }
    },
  );
});

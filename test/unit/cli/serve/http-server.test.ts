import { once } from "node:events";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Access } from "../../../../src/cli/serve/access-log.ts";
import { type Ending, HttpServer } from "../../../../src/cli/serve/http-server.ts";
import { Problem } from "../../../../src/proxy/problem.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { ManualClock, until } from "../../../helpers/manual-clock.ts";

type Answer = (request: Request) => Response | Promise<Response>;

interface Heard {
  status: number | undefined;
  headers: IncomingMessage["headers"];
  text: string;
}

/** A server whose stop runs on a clock of the test's, and whoever asks it, on one connection that is kept. */
async function served(answer: Answer) {
  const clock = new ManualClock();
  const log: Access[] = [];
  const server = new HttpServer({
    front: () => ({ answer: async (request) => await answer(request) }),
    subjectOf: () => "alice",
    log: (access) => void log.push(access),
    clock,
  });
  const port = await server.open(0, "127.0.0.1");
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const ask = async (method = "GET", path = "/health", by = agent): Promise<Heard> => {
    const asked = httpRequest({ port, host: "127.0.0.1", method, path, agent: by });
    asked.end();
    const [response]: IncomingMessage[] = await once(asked, "response");
    let text = "";
    for await (const part of response ?? []) text += part;
    return { status: response?.statusCode, headers: response?.headers ?? {}, text };
  };
  const newAgent = () => {
    const other = new Agent();
    onTestFinished(() => other.destroy());
    return other;
  };
  return { server, clock, log, ask, newAgent };
}

/** Lets time pass until the server has come to its end. */
async function ends(closing: Promise<Ending>, clock: ManualClock): Promise<Ending> {
  let ending: Ending | undefined;
  void closing.then((value) => {
    ending = value;
  });
  await until(() => {
    if (clock.pending > 0) clock.advance(100);
    return ending !== undefined;
  });
  return await closing;
}

const left = (submitted?: "no" | "yes") =>
  new Problem({ status: 499, code: "connection", detail: "left", ...(submitted && { submitted }) }).toResponse();

/** Answers as the proxy does when its caller seems to have left. */
const untilCut =
  (begun: () => void, submitted?: "no" | "yes"): Answer =>
  async ({ signal }) => {
    begun();
    await once(signal, "abort");
    return left(submitted);
  };

describe("a server that stops", () => {
  test("listens for two seconds more: idle connections are answered, and new ones, each for the last time", async () => {
    const { server, clock, ask, newAgent } = await served(() => new Response("here"));
    expect((await ask()).headers.connection).toBe("keep-alive");
    const closing = server.close(7_000, false);
    await until(() => clock.pending === 1);
    clock.advance(1_999);
    for (const agent of [undefined, newAgent()]) {
      const { status, headers } = await ask("GET", "/health", agent);
      expect([status, headers.connection]).toEqual([200, "close"]);
    }
    clock.advance(1);
    expect(await ends(closing, clock)).toEqual({ cut: 0, left: 0 });
    await expect(ask("GET", "/health", newAgent())).rejects.toThrow(/ECONNREFUSED/);
  });

  test("answers on idle connections until its last request has ended", async () => {
    const [begun, gate] = [deferred(), deferred()];
    const { server, clock, ask, newAgent } = await served(async ({ url }) => {
      if (!url.endsWith("/slow")) return new Response("here");
      begun.resolve();
      await gate.promise;
      return new Response("slow");
    });
    await ask();
    const slow = ask("GET", "/slow", newAgent());
    await begun.promise;
    const closing = server.close(7_000, false);
    await until(() => clock.pending === 1);
    clock.advance(2_000);
    await until(() => clock.pending === 1);
    await expect(ask("GET", "/health", newAgent())).rejects.toThrow(/ECONNREFUSED/);
    const { status, headers } = await ask();
    expect([status, headers.connection]).toEqual([200, "close"]);
    gate.resolve();
    expect((await slow).text).toBe("slow");
    expect(await closing).toEqual({ cut: 0, left: 0 });
  });

  test("that is hurried ends at once when nothing is open", async () => {
    const { server, clock } = await served(() => new Response());
    expect(await server.close(7_000, true)).toEqual({ cut: 0, left: 0 });
    expect(clock.now()).toBe(0);
  });

  test("tells the proxy when to refuse, and when to let go", async () => {
    const begun = deferred();
    const { server, clock, ask } = await served(async () => {
      begun.resolve();
      if (!server.stopping.drain.aborted) await once(server.stopping.drain, "abort");
      return new Response("let go");
    });
    const asking = ask();
    await begun.promise;
    const closing = server.close(7_000, false);
    expect([server.stopping.closing.aborted, server.stopping.drain.aborted]).toEqual([true, false]);
    expect(await ends(closing, clock)).toEqual({ cut: 0, left: 0 });
    expect([await asking, clock.now() >= 7_000 && clock.now() < 8_000]).toMatchObject([{ text: "let go" }, true]);
  });

  test.each([
    ["no", "POST", "/run", { code: "server", submitted: "no" }],
    ["yes", "POST", "/run", { code: "server", submitted: "yes" }],
    [undefined, "GET", "/health", { code: "server" }],
  ] as const)(
    "ends the rest, and each is told what became of its job: %s",
    async (submitted, method, path, expected) => {
      const begun = deferred();
      const { server, clock, ask, log } = await served(untilCut(begun.resolve, submitted));
      const asking = ask(method, path);
      await begun.promise;
      expect(await ends(server.close(7_000, false), clock)).toEqual({ cut: 1, left: 0 });
      const { status, headers, text } = await asking;
      expect([status, headers["retry-after"], headers.connection]).toEqual([503, "1", "close"]);
      expect(JSON.parse(text)).toMatchObject(expected);
      expect("submitted" in JSON.parse(text)).toBe(submitted !== undefined);
      expect(log.map(({ status }) => status)).toEqual([503]);
    },
  );

  test("answers in place of work that does not end, within the ten seconds that Docker gives", async () => {
    const begun = deferred();
    const { server, clock, ask } = await served(() => {
      begun.resolve();
      return new Promise(() => {});
    });
    const asking = ask("POST", "/alpha/v1/txt2img");
    await begun.promise;
    expect(await ends(server.close(7_000, false), clock)).toEqual({ cut: 1, left: 1 });
    const { status, text } = await asking;
    expect([status, JSON.parse(text)]).toMatchObject([503, { code: "submission_unknown", submitted: "unknown" }]);
    expect(clock.now()).toBeLessThan(10_000);
  });
});

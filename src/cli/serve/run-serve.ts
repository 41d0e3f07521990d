import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { proxyOn } from "../../proxy/app.ts";
import { openApiDocument } from "../../proxy/openapi/document.ts";
import { defaultLimits, type ProxyOptions } from "../../proxy/options.ts";
import { realClock, realInternals } from "../../runtime/clock.ts";
import { VERSION } from "../../runtime/environment.ts";
import { endpointAccess, placesOf } from "../jobs/endpoint-access.ts";
import { cannotListen, interruption, isLoopback, localUrl } from "../local/listening.ts";
import { requireRenderer } from "../local/renderer.ts";
import { Interruption, UsageError } from "../terminal/failures.ts";
import { count, duration } from "../terminal/format.ts";
import type { Session } from "../terminal/session.ts";
import { accessJson, accessLine, troubleJson, troubleLine } from "./access-log.ts";
import { Tokens } from "./bearer-tokens.ts";
import { FolderStorage } from "./folder-storage.ts";
import { Front } from "./front.ts";
import { HttpServer } from "./http-server.ts";
import { type Admission, admission, type ServeFlags, secretsOf } from "./serve-flags.ts";

/** Milliseconds that open requests have to finish: a little less than the ten seconds that Docker gives. */
const usualStopTimeout = 7_000;

/** `layerdiffuse serve`: the proxy as a server of its own, until Ctrl-C or SIGTERM. */
export async function serve(session: Session, flags: ServeFlags): Promise<void> {
  const { io } = session;
  const { stopTimeout = usualStopTimeout } = flags;
  if (flags.local && (flags.endpoint !== undefined || flags.baseUrl !== undefined)) {
    throw new UsageError("--local brings its own endpoint. Drop --endpoint and --base-url, or --local.");
  }
  const admitted = await admission(flags, session);
  if (flags.local) await requireRenderer(session);
  const secret = secretsOf(session.variables);
  const storage = flags.storage === undefined ? undefined : await FolderStorage.open(resolve(io.cwd, flags.storage));
  session.places = { ...session.places, ...placesOf(flags, session.variables) };
  const upstream = flags.local
    ? await standIn()
    : {
        ...endpointAccess(flags, session.variables, "without an account, pass --local"),
        fetch: io.fetch,
        close: async () => {},
      };
  const { close: closeUpstream, ...connection } = upstream;
  try {
    const subjects = new WeakMap<Request, string>();
    const server: HttpServer = new HttpServer({
      front: () => front,
      subjectOf: (request) => subjects.get(request),
      log: (access) => void session.note(session.isJson ? accessJson(access) : accessLine(access)),
      clock: realClock,
    });
    const options: ProxyOptions = {
      ...connection,
      authorize: (request) => {
        const subject = admitted instanceof Tokens ? admitted.bearerOf(request) : "public";
        if (subject !== null) subjects.set(request, subject);
        return subject;
      },
      secret,
      origins: flags.origin ?? [],
      limits: { concurrency: flags.concurrency, ratePerMinute: flags.ratePerMinute },
      storage,
      syncWait: flags.syncWait,
      publicUrl: flags.publicUrl,
      onError: (error, context) => {
        const line = session.isJson ? troubleJson : troubleLine;
        void session.warn(line(error, context, { apiKey: connection.apiKey, places: session.places }));
      },
    };
    const proxy = proxyOn(options, { ...realInternals, wallTime: () => Date.now(), stopping: server.stopping });
    const hosts = hostsOf(flags, admitted);
    const frontAt = (url: string): Front =>
      new Front({ proxy, document: documentAt(url, admitted), hosts, isStopping: () => server.isStopping });
    // Made before the server listens, so that the first request finds it. The port is known only then.
    let front: Front = frontAt(flags.publicUrl ?? "/");
    const port = await server.open(flags.port, flags.host).catch((cause: unknown) => {
      throw cannotListen(flags, cause);
    });
    const url = new URL(localUrl(flags.host, port)).origin;
    if (flags.publicUrl === undefined) front = frontAt(url);
    await announce(session, url, flags, admitted);
    if (flags.token) {
      await session.note(
        "Others on this machine can read --token in the list of processes. Use LAYERDIFFUSE_TOKENS instead.\n",
      );
    }
    await interruption(session.signal);
    await session.note(
      `Stopping: open requests have ${duration(stopTimeout)} to finish. Press Ctrl-C again to stop at once.`,
    );
    // Behind a SIGTERM there may be a balancer, which still sends requests.
    const { reason } = session.signal;
    const isHurried = reason instanceof Interruption && reason.signal === "SIGINT";
    const { cut, left } = await server.close(stopTimeout, isHurried);
    if (left > 0) {
      throw new Error(
        `${count(left, "request", "requests")} could not be ended in time: the jobs may run until their own time limit.`,
      );
    }
    if (cut > 0) {
      await session.note(`${count(cut, "request was", "requests were")} cut off, and their jobs cancelled.`);
    }
    await session.note("The server has stopped.");
  } finally {
    await closeUpstream();
  }
}

/** An endpoint in this process, where a stand-in artist draws. Nobody else knows its key. */
async function standIn() {
  const { createLocalEndpoint } = await import("../../local/index.ts");
  const apiKey = randomBytes(24).toString("hex");
  const endpoint = createLocalEndpoint({ apiKey });
  return {
    endpointId: "local",
    apiKey,
    // Never reached by a socket.
    baseUrl: "http://127.0.0.1/v2",
    fetch: endpoint.fetch,
    close: () => endpoint.close(),
  };
}

function documentAt(server: string, admitted: Admission) {
  const { promptLength, bodyBytes } = defaultLimits;
  const needsToken = admitted !== "anyone";
  return openApiDocument({
    version: VERSION,
    server: server.replace(/\/+$/, "") || "/",
    promptLength,
    bodyBytes,
    needsToken,
  });
}

/** The names by which the server may be called: any where callers have tokens or other computers may call. */
function hostsOf({ host, publicUrl }: ServeFlags, admitted: Admission): ReadonlySet<string> | undefined {
  if (admitted !== "anyone" || !isLoopback(host)) return undefined;
  const own = new URL(localUrl(host, 80)).hostname;
  const outside = publicUrl === undefined ? [] : [new URL(publicUrl).hostname];
  return new Set(["localhost", "127.0.0.1", "[::1]", own, ...outside]);
}

async function announce(session: Session, url: string, flags: ServeFlags, admitted: Admission): Promise<void> {
  await session.answer(session.isJson ? JSON.stringify({ url }) : url);
  const who =
    admitted === "anyone"
      ? "Anyone who can reach it may call."
      : `Callers, each with a token: ${admitted.names.join(", ")}.`;
  const kept =
    flags.storage === undefined ? "Images are kept in memory for an hour." : `Images are kept in ${flags.storage}.`;
  const token = admitted === "anyone" ? "" : " -H 'Authorization: Bearer YOUR-TOKEN'";
  const lines = [
    `\nThe HTTP API${flags.local ? ", over a stand-in artist: no GPU, no account" : ""}. ${who} ${kept}`,
    `All routes: ${url}/docs\n`,
    `curl ${url}/alpha/v1/txt2img${token} -H 'Content-Type: application/json' -d '{"prompt":"a red apple"}'`,
    `new LayerDiffuse({ proxyUrl: "${flags.publicUrl ?? url}" }) // in a page, whose origin --origin allows`,
    "\nCtrl-C stops it.\n",
  ];
  for (const line of lines) await session.note(line);
}

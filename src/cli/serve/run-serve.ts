import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { ConfigurationError, isLayerDiffuseError } from "../../errors/index.ts";
import { createProxy, type ProxyOptions } from "../../proxy/index.ts";
import { openApiDocument } from "../../proxy/openapi/document.ts";
import { defaultLimits } from "../../proxy/options.ts";
import { realClock } from "../../runtime/clock.ts";
import { VERSION } from "../../runtime/environment.ts";

import { cannotListen, interruption, isLoopback, localUrl } from "../local/listening.ts";
import { UsageError } from "../terminal/failures.ts";
import { count, duration } from "../terminal/format.ts";
import type { Session } from "../terminal/session.ts";
import { accessJson, accessLine, troubleJson, troubleLine } from "./access-log.ts";
import { Tokens, tokenWords } from "./bearer-tokens.ts";
import { FolderStorage } from "./folder-storage.ts";
import { Front } from "./front.ts";
import { HttpServer } from "./http-server.ts";
import { type Admission, admission, type ServeFlags, upstreamOf } from "./serve-flags.ts";

/** `layerdiffuse serve`: the proxy as a server of its own, until Ctrl-C or SIGTERM. */
export async function serve(session: Session, flags: ServeFlags): Promise<void> {
  const { io } = session;
  if (flags.local && (flags.endpoint !== undefined || flags.baseUrl !== undefined)) {
    throw new UsageError("--local has an endpoint of its own. Drop --endpoint and --base-url, or --local.");
  }
  const admitted = await admission(flags, io);
  // As a variable that is not set makes it: the pictures would lie wherever this was started.
  if (flags.storage === "") throw new UsageError("--storage is empty. Name a folder, or leave it out.");
  const storage = flags.storage === undefined ? undefined : await FolderStorage.open(resolve(io.cwd, flags.storage));
  const upstream = flags.local ? await standIn() : { ...upstreamOf(flags, io), fetch: io.fetch, close: async () => {} };
  const { close: closeUpstream, ...connection } = upstream;
  try {
    const subjects = new WeakMap<Request, string>();
    const secrets = tokenWords(io.env["LAYERDIFFUSE_SECRET"] ?? "");
    const proxy = createInOurWords({
      ...connection,
      authorize: (request) => {
        const subject = admitted instanceof Tokens ? admitted.bearerOf(request) : "public";
        if (subject !== null) subjects.set(request, subject);
        return subject;
      },
      secret: secrets.length > 0 ? secrets : undefined,
      origins: flags.origin ?? [],
      limits: { concurrency: flags.concurrency, ratePerMinute: flags.ratePerMinute },
      storage,
      syncWait: flags.syncWait,
      publicUrl: flags.publicUrl,
      onError: (error, context) => {
        const line = session.isJson ? troubleJson : troubleLine;
        void session.warn(line(error, context, connection.apiKey));
      },
    });
    const server: HttpServer = new HttpServer({
      front: () => front,
      subjectOf: (request) => subjects.get(request),
      log: (access) => void session.note(session.isJson ? accessJson(access) : accessLine(access)),
      clock: realClock,
    });
    const hosts = hostsOf(flags, admitted);
    const frontAt = (url: string): Front =>
      new Front({ proxy, document: documentAt(url, admitted), hosts, isStopping: () => server.isStopping });
    // Made before it listens, so that the first request finds one; which port it is shows then.
    let front: Front = frontAt(flags.publicUrl ?? "/");
    const port = await server.open(flags.port, flags.host).catch((cause: unknown) => {
      throw cannotListen(flags, cause);
    });
    const url = new URL(localUrl(flags.host, port)).origin;
    if (flags.publicUrl === undefined) front = frontAt(url);
    await announce(session, url, flags, admitted);
    if (flags.token) {
      await session.note(
        "Others on this machine can read --token in the list of processes; LAYERDIFFUSE_TOKENS they cannot.\n",
      );
    }
    if (flags.local) await lookForRenderer(session);
    await interruption(session.signal);
    await session.note(`Stopping: what is held has ${duration(flags.stopTimeout)} to end. Once more ends it at once.`);
    const { cut, left } = await server.close(flags.stopTimeout);
    if (left > 0) {
      throw new Error(
        `${count(left, "request", "requests")} could not be ended in time: their jobs may run until their own time is over.`,
      );
    }
    if (cut > 0) {
      await session.note(
        `${count(cut, "request was", "requests were")} cut off, and the jobs that hung on them cancelled.`,
      );
    }
    await session.note("The server has stopped.");
  } finally {
    await closeUpstream();
  }
}

/** An endpoint in this process, where a stand-in artist draws: no account, and a key that nobody else knows. */
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

/** Better told now than by the first job that fails. */
async function lookForRenderer(session: Session): Promise<void> {
  const { loadRenderer } = await import("../../local/artist/draw.ts");
  await loadRenderer().catch(({ message }: Error) => session.note(`\n${message}`));
}

function createInOurWords(options: ProxyOptions) {
  const ourWords: readonly [RegExp, string][] = [
    [/\bpublicUrl\b/g, "--public-url"],
    [/\borigins\b/g, "--origin"],
    [/\bsecret\b/g, "LAYERDIFFUSE_SECRET"],
    [/\bsyncWait\b/g, "--sync-wait"],
  ];
  try {
    return createProxy(options);
  } catch (error) {
    if (!isLayerDiffuseError(error, "configuration")) throw error;
    const message = ourWords.reduce((text, [theirs, ours]) => text.replace(theirs, ours), error.message);
    throw new ConfigurationError(message, { cause: error });
  }
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

/** By which names it may be called: any where tokens say who asks, or others are to reach it. */
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
      ? "Anyone who reaches it may ask."
      : `May ask: ${admitted.names.join(", ")}, each by a token.`;
  const kept =
    flags.storage === undefined
      ? "Pictures are kept in memory, for an hour."
      : `Pictures are kept in ${flags.storage}.`;
  const token = admitted === "anyone" ? "" : " -H 'Authorization: Bearer YOUR-TOKEN'";
  const lines = [
    `\nThe HTTP API${flags.local ? ", over a stand-in artist: no GPU, no account" : ""}. ${who} ${kept}`,
    `What there is to ask: ${url}/docs\n`,
    `curl ${url}/alpha/v1/txt2img${token} -H 'Content-Type: application/json' -d '{"prompt":"a red apple"}'`,
    `new LayerDiffuse({ proxyUrl: "${flags.publicUrl ?? url}" }) // in a page, with --origin for its own`,
    "\nCtrl-C stops it.\n",
  ];
  for (const line of lines) await session.note(line);
}

import type { ProxyHandler } from "../../proxy/index.ts";
import type { OpenApiDocument } from "../../proxy/openapi/document-types.ts";
import { Problem } from "../../proxy/problem.ts";
import { findRoute } from "../../proxy/routes.ts";
import { docsPage } from "./docs-page.ts";

/** What the log needs to know of a request, filled in while it is answered. */
export interface Trace {
  route: string;
}

export interface FrontOptions {
  proxy: ProxyHandler;
  document: OpenApiDocument;
  /** The names by which this server may be called; undefined if any will do. */
  hosts: ReadonlySet<string> | undefined;
  isStopping: () => boolean;
}

interface Page {
  route: string;
  answer: () => Response;
}

const nothingCached = { "cache-control": "no-cache", "x-content-type-options": "nosniff" };

/** Answers the server's own pages, and leaves everything else to the proxy. */
export class Front {
  readonly #options: FrontOptions;
  readonly #pages: ReadonlyMap<string, Page>;

  constructor(options: FrontOptions) {
    const { document } = options;
    const json = JSON.stringify(document, undefined, 2);
    const page = docsPage(document);
    const redirect = () => new Response(null, { status: 307, headers: { location: "/docs", ...nothingCached } });
    this.#options = options;
    this.#pages = new Map([
      ["/", { route: "index", answer: redirect }],
      ["/healthz", { route: "healthz", answer: () => this.#health() }],
      ["/openapi.json", { route: "openapi", answer: () => textAnswer(json, "application/json") }],
      ["/docs", { route: "docs", answer: () => textAnswer(page.html, "text/html; charset=utf-8", page.headers) }],
    ]);
  }

  async answer(request: Request, trace: Trace): Promise<Response> {
    const { pathname, hostname } = new URL(request.url);
    // As with the proxy's routes, one slash at the end is the same page.
    const page = this.#pages.get(pathname.replace(/(?<=[^/])\/$/, ""));
    const route = findRoute(pathname);
    trace.route = page?.route ?? route?.name ?? "-";
    const { hosts, proxy } = this.#options;
    // A health check may use any name: it learns nothing else.
    if (hosts && !hosts.has(hostname) && trace.route !== "healthz") return foreignHost(route?.submits);
    if (!page) return await proxy(request);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return wrongMethod();
    }
    const response = page.answer();
    return request.method === "HEAD" ? new Response(null, response) : response;
  }

  #health(): Response {
    const isStopping = this.#options.isStopping();
    const body = JSON.stringify({ status: isStopping ? "stopping" : "ok" });
    const headers = { "cache-control": "no-store" };
    return textAnswer(body, "application/json", headers, isStopping ? 503 : 200);
  }
}

function textAnswer(text: string, type: string, headers: Record<string, string> = {}, status = 200): Response {
  return new Response(text, { status, headers: { "content-type": type, ...nothingCached, ...headers } });
}

function wrongMethod(): Response {
  const allow = "GET, HEAD";
  const detail = `This address accepts ${allow}.`;
  return new Problem({ status: 405, code: "bad_request", detail, headers: { allow } }).toResponse();
}

/**
 * A foreign page can point its own name at this computer (DNS rebinding), and would then share the server's origin.
 * The name in `Host` gives it away.
 */
function foreignHost(submits = false): Response {
  const detail =
    "Without tokens this server answers only to its own address. To reach it by another name, start it with --public-url.";
  return new Problem({ status: 403, code: "authentication", detail, ...(submits && { submitted: "no" }) }).toResponse();
}

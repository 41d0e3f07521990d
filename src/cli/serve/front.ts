import { type RequestIdVariables, requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { Hono } from "hono/tiny";
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

interface Environment {
  Bindings: { trace: Trace };
  Variables: RequestIdVariables;
}

/** The server speaks plain HTTP, so it may ask nobody for TLS. */
const headersOfAPage = secureHeaders({ strictTransportSecurity: false });

/** The server's own pages, by their paths, as the log names them. */
const pages = { "/": "index", "/healthz": "healthz", "/openapi.json": "openapi", "/docs": "docs" } as const;

/** Answers the server's own pages, and leaves everything else to the proxy. */
export class Front {
  readonly #app: Hono<Environment>;

  constructor({ proxy, document, hosts, isStopping }: FrontOptions) {
    // Nothing is decoded before it is compared. As with the proxy's routes, one slash at the end is the same page.
    const app = new Hono<Environment>({ getPath: ({ url }) => new URL(url).pathname });
    const json = JSON.stringify(document, undefined, 2);
    const docs = docsPage(document);
    for (const [path, name] of Object.entries(pages)) {
      app.use(path, requestId(), headersOfAPage, async (context, next) => {
        context.env.trace.route = name;
        await next();
        if (!context.res.headers.has("cache-control")) context.header("cache-control", "no-cache");
      });
    }
    app.get("/healthz", (context) => {
      // A health check may use any name: it learns nothing else.
      context.header("cache-control", "no-store");
      return isStopping() ? context.json({ status: "stopping" }, 503) : context.json({ status: "ok" });
    });
    app.use(async ({ env: { trace }, req }, next) => {
      const { pathname, hostname } = new URL(req.url);
      const route = findRoute(pathname);
      if (route) trace.route = route.name;
      if (hosts && !hosts.has(hostname) && trace.route !== "healthz") return foreignHost(route?.submits);
      await next();
    });
    app.get("/", (context) => context.redirect("/docs", 307));
    app.get("/openapi.json", (context) => context.body(json, 200, { "content-type": "application/json" }));
    app.get("/docs", (context) => context.html(docs.html, 200, docs.headers));
    for (const path of Object.keys(pages)) app.all(path, wrongMethod);
    app.all("*", async (context) => await proxy(context.req.raw));
    this.#app = app;
  }

  async answer(request: Request, trace: Trace): Promise<Response> {
    return await this.#app.fetch(request, { trace });
  }
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

import { Problem } from "../problem.ts";

/** Seconds a browser may keep a preflight's answer. */
const preflightAge = 600;
/** What a page of another origin may read beside the body. */
const exposed = "content-disposition, etag, location, preference-applied, retry-after";

/** Who may call from a browser, by the page's origin. */
export class Cors {
  readonly #origins: ReadonlySet<string>;
  readonly #own: string | undefined;

  /** @param publicUrl where this server is seen from outside */
  constructor(origins: readonly string[], publicUrl: string | undefined) {
    this.#origins = new Set(origins);
    this.#own = publicUrl && new URL(publicUrl).origin;
  }

  /** For every answer: caches must keep the answers to different origins apart. */
  headersFor(request: Request): Record<string, string> {
    const origin = request.headers.get("origin");
    if (origin === null || !this.#origins.has(origin)) return { vary: "origin" };
    return {
      vary: "origin",
      "access-control-allow-origin": origin,
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": exposed,
    };
  }

  /** The answer to OPTIONS. */
  preflight(request: Request, methods: readonly string[]): Response {
    const { headers } = request;
    const allow = [...methods, "OPTIONS"].join(", ");
    const origin = headers.get("origin");
    if (origin === null || !headers.has("access-control-request-method")) {
      return new Response(null, { status: 204, headers: { allow } });
    }
    if (!this.#origins.has(origin)) throw foreignOrigin();
    const asked = headers.get("access-control-request-headers") ?? "";
    // The owner chose these origins, and `authorize` may read any header; names only, so that none is smuggled in.
    const names = /^[\w-]+(\s*,\s*[\w-]+)*$/.test(asked) && asked.length <= 500 ? asked : "";
    return new Response(null, {
      status: 204,
      headers: {
        allow,
        "access-control-allow-methods": methods.join(", "),
        ...(names && { "access-control-allow-headers": names }),
        "access-control-max-age": String(preflightAge),
      },
    });
  }

  /**
   * A page elsewhere can have a browser send what does something, cookies and all, without reading the answer: that
   * is refused. What comes without an origin comes from no page.
   *
   * @throws Problem
   */
  refuseForeign(request: Request): void {
    const { headers, method, url } = request;
    const origin = headers.get("origin");
    if (method === "GET" || method === "HEAD" || origin === null) return;
    if (this.#origins.has(origin) || origin === this.#own) return;
    // Pages cannot write this header. Behind a proxy that ends TLS, the request's own address is no match.
    if (headers.get("sec-fetch-site") === "same-origin") return;
    // A framework may know itself by another name than callers do, as Next.js does: `Host` is what they asked.
    const own = [new URL(url).host, headers.get("host")];
    if (URL.canParse(origin) && own.includes(new URL(origin).host)) return;
    throw foreignOrigin();
  }
}

function foreignOrigin(): Problem {
  const detail = "Pages of this origin may not call here. The server's owner lists those that may in `origins`.";
  return new Problem({ status: 403, code: "authentication", detail });
}

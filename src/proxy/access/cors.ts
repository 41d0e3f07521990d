import { Problem } from "../problem.ts";

/** How long a browser may keep the answer to a preflight request, in seconds. */
const preflightAge = 600;
/** The headers that a page of another origin may read. */
const exposed = "content-disposition, etag, location, preference-applied, retry-after, x-request-id";

/** Decides by a page's origin whether it may call. */
export class Cors {
  readonly #origins: ReadonlySet<string>;
  readonly #own: string | undefined;

  /** @param publicUrl the origin at which others reach this server */
  constructor(origins: readonly string[], publicUrl: string | undefined) {
    this.#origins = new Set(origins);
    this.#own = publicUrl && new URL(publicUrl).origin;
  }

  /** Every answer has `vary`, so that caches keep the answers to different origins apart. */
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

  /** Answers OPTIONS. */
  preflight(request: Request, methods: readonly string[]): Response {
    const { headers } = request;
    const allow = [...methods, "OPTIONS"].join(", ");
    const origin = headers.get("origin");
    if (origin === null || !headers.has("access-control-request-method")) {
      return new Response(null, { status: 204, headers: { allow } });
    }
    if (!this.#origins.has(origin)) throw foreignOrigin();
    const asked = headers.get("access-control-request-headers") ?? "";
    // These origins are trusted, and `authorize` may read any header. Only names pass, so that no other text gets in.
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
   * Refuses requests that change something if a foreign page sends them: a browser sends them with cookies, even though
   * the page cannot read the answer. A request without an origin does not come from a page.
   *
   * @throws Problem
   */
  refuseForeign(request: Request): void {
    const { headers, method, url } = request;
    const origin = headers.get("origin");
    if (method === "GET" || method === "HEAD" || origin === null) return;
    if (this.#origins.has(origin) || origin === this.#own) return;
    // Pages cannot set this header. Behind a proxy that ends TLS, the request's own address would not match.
    if (headers.get("sec-fetch-site") === "same-origin") return;
    // A framework such as Next.js may have another name for itself than callers use. `Host` is the name they used.
    const own = [new URL(url).host, headers.get("host")];
    if (URL.canParse(origin) && own.includes(new URL(origin).host)) return;
    throw foreignOrigin();
  }
}

function foreignOrigin(): Problem {
  const detail = "Pages of this origin may not call this server. Its owner lists the allowed origins in `origins`.";
  return new Problem({ status: 403, code: "authentication", detail });
}

import { HttpResponse, http } from "msw";
import { afterEach, describe, expect, it, vi } from "vitest";
import { downloadFile } from "../../../src/runpod/download.ts";
import { sleep } from "../../../src/runtime/clock.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { ManualClock, turns } from "../../helpers/manual-clock.ts";
import { jobHandlers, key, mockClient, mockService } from "../../helpers/mock-service.ts";
import { makePng } from "../../helpers/png.ts";

const service = mockService();

/** Signed, as links of stores are: whoever has it has the image. */
const link = "https://bucket.test/apple.png?signature=s3cret";
const png = new Uint8Array(makePng({ width: 5 }));
const file = (bytes = png, init: ResponseInit = {}) => new HttpResponse(bytes, init);
const redirect = (location: string, status = 302) => new HttpResponse(null, { status, headers: { location } });

/** A client whose job ends with a link. */
function clientOfLink(url = link, options = {}) {
  const { handlers } = jobHandlers({ status: "COMPLETED", output: { url } });
  service.use(...handlers);
  const { client, drive, clock } = mockClient(options);
  return { drive, clock, result: (call = {}) => client.job("job-1").result(call) };
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("a link in an output", () => {
  it("is fetched without the key and without the user's headers", async () => {
    const seen: Record<string, string>[] = [];
    service.use(
      http.get("https://bucket.test/apple.png", ({ request }) => {
        seen.push({ url: request.url, ...Object.fromEntries(request.headers) });
        return file();
      }),
    );
    const headers = { "x-team": "blue", cookie: "session=7" };
    const { drive, result } = clientOfLink(link, { headers });
    expect((await drive(result({ headers: { "x-trace": "1" } }))).width).toBe(5);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ url: link });
    for (const name of ["authorization", "x-team", "x-trace", "cookie"]) expect(seen[0]).not.toHaveProperty(name);
    expect(JSON.stringify(seen)).not.toContain(key);
  });

  it("is told of as decoding, once", async () => {
    service.use(http.get("https://bucket.test/*", () => file()));
    const { drive, result } = clientOfLink();
    const phases: string[] = [];
    await drive(result({ onProgress: ({ phase }: { phase: string }) => void phases.push(phase) }));
    expect(phases).toEqual(["decoding", "done"]);
  });

  it.each([301, 302, 303, 307, 308])("may lead elsewhere by a %i, over https", async (status) => {
    service.use(
      http.get("https://bucket.test/apple.png", () => redirect("/moved", status)),
      http.get("https://bucket.test/moved", () => redirect("https://store.test/apple", status)),
      http.get("https://store.test/apple", () => file()),
    );
    const { drive, result } = clientOfLink();
    expect((await drive(result())).width).toBe(5);
  });

  it.each(["http://store.test/apple", "ftp://store.test/apple", "file:///etc/passwd", "data:image/png;base64,AAAA"])(
    "never leads to %s",
    async (location) => {
      // A request there would be one that no handler takes.
      service.use(http.get("https://bucket.test/*", () => redirect(location)));
      const { drive, result } = clientOfLink();
      const error = await rejectionOf(drive(result()));
      expect(error).toMatchObject({ code: "invalid_image", jobId: "job-1", retryable: false });
      expect(String(error)).toContain("away from https");
    },
  );

  it("is given up after five redirects", async () => {
    let asked = 0;
    service.use(http.get("https://bucket.test/*", () => redirect(`/${++asked}`)));
    const { drive, result } = clientOfLink();
    expect(await rejectionOf(drive(result()))).toMatchObject({ code: "invalid_image" });
    expect(asked).toBe(6);
  });

  it.each([404, 403, 410, 304])("that answers %i has expired, and is not asked again", async (status) => {
    let asked = 0;
    service.use(
      http.get("https://bucket.test/*", () => {
        asked++;
        return new HttpResponse(null, { status });
      }),
    );
    const { drive, result } = clientOfLink();
    expect(await rejectionOf(drive(result()))).toMatchObject({ code: "invalid_image", status, jobId: "job-1" });
    expect(asked).toBe(1);
  });

  it("is tried again like any read", async () => {
    const answers = [
      () => new HttpResponse(null, { status: 503 }),
      () => HttpResponse.error(),
      () => new HttpResponse(null, { status: 429, headers: { "retry-after": "3" } }),
      () => file(),
    ];
    service.use(
      http.get("https://bucket.test/*", function* () {
        for (const answer of answers) yield answer();
      }),
    );
    const { drive, result, clock } = clientOfLink();
    expect((await drive(result())).width).toBe(5);
    expect(clock.now()).toBeGreaterThanOrEqual(3_000);
  });

  it("that fails for good leaves the job's id, and shows the link to nobody", async () => {
    service.use(http.get("https://bucket.test/*", () => HttpResponse.error()));
    const { drive, result } = clientOfLink(link, { retries: 1 });
    const error = await rejectionOf(drive(result()));
    expect(error).toMatchObject({ code: "connection", jobId: "job-1" });
    expect(JSON.stringify(error) + String(error) + String((error as Error).stack)).not.toContain("s3cret");
  });

  it.each([503, 429])(
    "whose host answers %i for good leaves the job's id, so that it is not paid for again",
    async (status) => {
      const { handlers } = jobHandlers({ status: "COMPLETED", output: { url: link } });
      service.use(
        ...handlers,
        http.get("https://bucket.test/*", () => new HttpResponse(null, { status })),
      );
      const { client, drive } = mockClient({ retries: 1 });
      expect(await rejectionOf(drive(client.generate("a red apple")))).toMatchObject({
        status,
        jobId: "job-1",
        submitted: "yes",
        retryable: false,
      });
    },
  );

  it("shows no address that it was sent on to", async () => {
    const next = "https://elsewhere.test/apple.png?signature=s3cret-too";
    const asked: string[] = [];
    const fetchStub: typeof fetch = async (input, init) => {
      if (String(input).startsWith("https://service.test/")) return await fetch(input, init);
      asked.push(String(input));
      if (asked.length === 1) return redirect(next);
      throw new TypeError(`error sending request for url (${input})`);
    };
    const { drive, result } = clientOfLink(link, { retries: 0, fetch: fetchStub });
    const error = await rejectionOf(drive(result()));
    expect(error).toMatchObject({ code: "connection" });
    expect(asked.at(-1)).toBe(next);
    expect(JSON.stringify(error) + String(error) + String((error as Error).stack)).not.toContain("s3cret");
  });

  it("that leads to something else than an image is no image", async () => {
    service.use(http.get("https://bucket.test/*", () => new HttpResponse("<html>Sign in</html>")));
    const { drive, result } = clientOfLink();
    expect(await rejectionOf(drive(result()))).toMatchObject({ code: "invalid_image", jobId: "job-1" });
  });

  it("is given up at once when the caller is", async () => {
    const controller = new AbortController();
    service.use(
      http.get("https://bucket.test/*", () => {
        controller.abort("enough");
        return new Promise<never>(() => {});
      }),
    );
    const { drive, result, clock } = clientOfLink();
    expect(await rejectionOf(drive(result({ signal: controller.signal })))).toBe("enough");
    expect(clock.pending).toBe(0);
  });
});

describe("downloadFile", () => {
  const megabyte = new Uint8Array(1024 * 1024);
  const address = new URL(link).href;

  /** A body without an end, with how much of it was read, and whether it was let go of. */
  function endless() {
    const state = { megabytes: 0, isCancelled: false };
    const body = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          state.megabytes++;
          controller.enqueue(megabyte);
        },
        cancel: () => {
          state.isCancelled = true;
        },
      },
      { highWaterMark: 0 },
    );
    return { state, body };
  }

  it("reads 64 MB at most, and lets go of the rest", async () => {
    const { state, body } = endless();
    const options = { fetch: async () => new Response(body), clock: new ManualClock(), jobId: "job-1" };
    const error = await rejectionOf(downloadFile(address, options));
    expect(error).toMatchObject({ code: "invalid_image", jobId: "job-1", retryable: false });
    expect(String(error)).toContain("larger than 67108864 bytes");
    expect(state).toEqual({ megabytes: 65, isCancelled: true });
  });

  it.each([
    ["a length that is too large", { status: 200, headers: { "content-length": "67108865" } }],
    ["a page of a 404", { status: 404 }],
    ["a page of a 503", { status: 503 }],
    ["a page of a redirect", { status: 302, headers: { location: "http://elsewhere.test/" } }],
  ])("reads nothing of %s, and lets go of it", async (_what, init) => {
    const { state, body } = endless();
    const options = { fetch: async () => new Response(body, init), clock: new ManualClock(), jobId: "job-1" };
    await rejectionOf(downloadFile(address, options));
    expect(state).toEqual({ megabytes: 0, isCancelled: true });
  });

  it.each([
    ["https://store.test/apple", true],
    ["http://store.test/apple", false],
  ])("in a browser, which hides redirects, follows them and looks where they ended: %s", async (url, isTaken) => {
    vi.stubGlobal("navigator", { userAgent: "Mozilla/5.0 (X11; Linux x86_64)" });
    const modes: unknown[] = [];
    const fetch: typeof globalThis.fetch = async (_, init) => {
      modes.push(init?.redirect);
      return Object.defineProperties(new Response(png), { redirected: { value: true }, url: { value: url } });
    };
    const read = downloadFile(address, { fetch, clock: new ManualClock(), jobId: "job-1" });
    if (isTaken) expect(await read).toEqual(png);
    else expect(await rejectionOf(read)).toMatchObject({ code: "invalid_image", jobId: "job-1" });
    expect(modes).toEqual(["follow"]);
  });

  it("waits a minute for a sign of the file, and ends what it began", async () => {
    const clock = new ManualClock();
    let given: AbortSignal | null | undefined;
    const fetch: typeof globalThis.fetch = (_, init) => {
      given = init?.signal;
      return new Promise(() => {});
    };
    const error = await clock.drive(rejectionOf(downloadFile(address, { fetch, clock, jobId: "job-1" })));
    expect(error).toMatchObject({ code: "connection", arrived: "unknown", jobId: "job-1" });
    expect([clock.now(), given?.aborted, clock.pending]).toEqual([60_000, true, 0]);
    expect(String(error)).not.toContain("s3cret");
  });

  it("takes a file that arrives slowly, for ten minutes", async () => {
    const clock = new ManualClock();
    const file = (parts: number) => {
      let sent = 0;
      return new ReadableStream({
        pull: async (controller) => {
          await sleep(clock, 50_000);
          if (sent++ === parts) controller.close();
          else controller.enqueue(new Uint8Array([1, 2]));
        },
      });
    };
    const read = (parts: number) => {
      const fetch = async () => new Response(file(parts));
      return clock.drive(downloadFile(address, { fetch, clock, jobId: "job-1" }));
    };
    expect(await read(8)).toHaveLength(16);
    expect(clock.now()).toBeGreaterThan(400_000);
    expect(await rejectionOf(read(50))).toMatchObject({ code: "connection", jobId: "job-1" });
    expect(clock.pending).toBe(1);
  });

  it("is never read from a cache", async () => {
    const seen: unknown[] = [];
    const fetch: typeof globalThis.fetch = async (_, init) => {
      seen.push(init?.cache);
      return new Response("x");
    };
    await downloadFile(address, { fetch, clock: new ManualClock(), jobId: "job-1" });
    expect(seen).toEqual(["no-store"]);
  });

  it("waits no longer for a fetch that is deaf to its signal", async () => {
    const controller = new AbortController();
    const clock = new ManualClock();
    const fetch = () => new Promise<never>(() => {});
    const read = rejectionOf(downloadFile(address, { fetch, clock, jobId: "job-1", signal: controller.signal }));
    await turns();
    controller.abort("enough");
    expect(await read).toBe("enough");
    expect(clock.pending).toBe(0);
  });
});

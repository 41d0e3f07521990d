import { describe, expect, it } from "vitest";
import {
  AuthenticationError,
  BadRequestError,
  ConfigurationError,
  ConnectionError,
  EndpointNotFoundError,
  InvalidResponseError,
  JobExpiredError,
  type LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "../../../src/errors/index.ts";
import { isAmbiguous, mayRetry, type RetryOptions, withRetries } from "../../../src/runpod/retry.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { ManualClock, turns } from "../../helpers/manual-clock.ts";

const refused = new ConnectionError("refused", { arrived: "no" });
const reset = new ConnectionError("reset", { arrived: "unknown" });
const server = new ServerError("502", { status: 502, retryable: true });
const errorIn200 = new ServerError("could not queue", { status: 200, retryable: true });
const notJson = new InvalidResponseError("a page", { status: 200, retryable: true });
const notFinite = new InvalidResponseError("NaN", { status: 200 });
const limited = (retryAfter?: number) => new RateLimitError("429", { status: 429, retryAfter });

/** A `send` that fails with each of `failures` in turn, then answers; with the time of each try. */
function makeSend(clock: ManualClock, failures: unknown[]) {
  const times: number[] = [];
  const send = async () => {
    times.push(clock.now());
    if (times.length <= failures.length) throw failures[times.length - 1];
    return "answer";
  };
  return { send, times };
}

function options(clock: ManualClock, more: Partial<RetryOptions> = {}): RetryOptions {
  return { kind: "read", retries: 5, clock, random: () => 1, ...more };
}

describe("mayRetry and isAmbiguous", () => {
  it.each([
    // what happened, read, submission, whether a submission may have made a job
    ["429", limited(), true, true, false],
    ["a refused connection", refused, true, true, false],
    ["a reset connection", reset, true, false, true],
    ["a 5xx", server, true, false, true],
    ["an error in a 200", errorIn200, true, false, false],
    [
      "a busy proxy's 503",
      new ServerError("503", { status: 503, submitted: "no", retryable: true }),
      true,
      true,
      false,
    ],
    ["a proxy's 502 that made no job", new ServerError("502", { status: 502, submitted: "no" }), false, false, false],
    ["a redirect", new InvalidResponseError("302", { status: 302 }), false, false, false],
    ["a 2xx that is not JSON", notJson, true, false, true],
    ["a 2xx with NaN", notFinite, false, false, true],
    ["400", new BadRequestError("400", { status: 400 }), false, false, false],
    ["401", new AuthenticationError("401", { status: 401 }), false, false, false],
    ["404", new EndpointNotFoundError("404", { status: 404 }), false, false, false],
    ["404 for a job", new JobExpiredError("404", { status: 404 }), false, false, false],
    ["a wrong configuration", new ConfigurationError("no key"), false, false, false],
    ["somebody else's error", new Error("?"), false, false, false],
    ["nothing", undefined, false, false, false],
  ])("of %s", (_what, error, read, submission, isOpen) => {
    expect(mayRetry("read", error)).toBe(read);
    expect(mayRetry("submission", error)).toBe(submission);
    expect(isAmbiguous(error)).toBe(isOpen);
  });
});

describe("mayRetry for a job that was paid for", () => {
  const isFinal = (error: LayerDiffuseError) => error.status === 404;
  it.each([401, 403, 409, 413, 422])("takes %i for an answer that passes", (status) => {
    expect(mayRetry("read", new BadRequestError("?", { status }), isFinal)).toBe(true);
  });
  it("takes what is final for that, and nothing of somebody else's for an answer", () => {
    expect(mayRetry("read", new JobExpiredError("404", { status: 404 }), isFinal)).toBe(false);
    expect(mayRetry("read", new Error("?"), isFinal)).toBe(false);
  });
});

describe("withRetries", () => {
  it("asks for nothing when the first try succeeds", async () => {
    const clock = new ManualClock();
    const { send, times } = makeSend(clock, []);
    expect(await withRetries(send, options(clock))).toBe("answer");
    expect(times).toEqual([0]);
    expect(clock.delays).toEqual([]);
  });

  it("pauses longer each time, up to ten seconds", async () => {
    const clock = new ManualClock();
    const { send, times } = makeSend(clock, Array(7).fill(server));
    expect(await clock.drive(withRetries(send, options(clock, { retries: 7 })))).toBe("answer");
    expect(clock.delays).toEqual([500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    expect(times).toHaveLength(8);
    expect(clock.pending).toBe(0);
  });

  it("draws each pause anew between nothing and the longest", async () => {
    const clock = new ManualClock();
    const draws = [0, 0.5, 0.25];
    const { send } = makeSend(clock, Array(3).fill(reset));
    await clock.drive(withRetries(send, options(clock, { random: () => draws.shift() ?? 1 })));
    expect(clock.delays).toEqual([0, 500, 500]);
  });

  it.each([0, 1, 5])("tries %i times more, then rejects with the last error", async (retries) => {
    const clock = new ManualClock();
    const failures = Array.from({ length: 10 }, (_, index) => new ServerError(String(index), { retryable: true }));
    const { send, times } = makeSend(clock, failures);
    expect(await clock.drive(rejectionOf(withRetries(send, options(clock, { retries }))))).toBe(failures[retries]);
    expect(times).toHaveLength(retries + 1);
    expect(clock.delays).toHaveLength(retries);
  });

  it.each([new BadRequestError("400"), new Error("?"), new TypeError("?"), notFinite])(
    "rejects with %s after one try",
    async (error) => {
      const clock = new ManualClock();
      const { send, times } = makeSend(clock, [error]);
      expect(await rejectionOf(withRetries(send, options(clock)))).toBe(error);
      expect(times).toHaveLength(1);
    },
  );

  it.each([reset, server, notJson])("sends a submission once when %s leaves its fate open", async (error) => {
    const clock = new ManualClock();
    const { send, times } = makeSend(clock, [error]);
    expect(await rejectionOf(withRetries(send, options(clock, { kind: "submission" })))).toBe(error);
    expect(times).toHaveLength(1);
  });

  it("sends a submission again when it never arrived, or was too early", async () => {
    const clock = new ManualClock();
    const { send, times } = makeSend(clock, [refused, limited(), refused]);
    expect(await clock.drive(withRetries(send, options(clock, { kind: "submission" })))).toBe("answer");
    expect(times).toHaveLength(4);
  });

  describe("after a 429", () => {
    it("waits as long as the service asks, and a little more", async () => {
      const clock = new ManualClock();
      const { send } = makeSend(clock, [limited(7_000), limited(0), limited(3_000)]);
      const draws = [0, 1, 0.5];
      await clock.drive(withRetries(send, options(clock, { random: () => draws.shift() ?? 0 })));
      expect(clock.delays).toEqual([7_000, 500, 3_250]);
    });

    it("backs off by itself when the service asks for no time", async () => {
      const clock = new ManualClock();
      const { send } = makeSend(clock, Array(4).fill(limited()));
      await clock.drive(withRetries(send, options(clock)));
      expect(clock.delays).toEqual([500, 1_000, 2_000, 4_000]);
    });

    it("uses up no retry while there is a deadline", async () => {
      const clock = new ManualClock();
      const failures = [...Array(20).fill(limited(1_000)), server, ...Array(20).fill(limited(1_000)), server, server];
      const { send, times } = makeSend(clock, failures);
      const error = await clock.drive(
        rejectionOf(withRetries(send, options(clock, { retries: 2, deadline: 600_000 }))),
      );
      expect(error).toBe(server);
      expect(times).toHaveLength(43);
    });

    it("with no retries allowed still waits for its turn until the deadline", async () => {
      const clock = new ManualClock();
      const { send, times } = makeSend(clock, Array(3).fill(limited(1_000)));
      expect(await clock.drive(withRetries(send, options(clock, { retries: 0, deadline: 600_000 })))).toBe("answer");
      expect(times).toHaveLength(4);
    });

    it("counts like any other failure where there is no deadline", async () => {
      const clock = new ManualClock();
      const { send, times } = makeSend(clock, Array(10).fill(limited(1_000)));
      const error = await clock.drive(rejectionOf(withRetries(send, options(clock, { retries: 2 }))));
      expect(error).toBeInstanceOf(RateLimitError);
      expect(times).toHaveLength(3);
    });

    it("gives up at once when the service asks for more time than there is", async () => {
      const clock = new ManualClock();
      const { send, times } = makeSend(clock, [limited(60_000)]);
      const error = await rejectionOf(withRetries(send, options(clock, { deadline: 60_000 })));
      expect(error).toMatchObject({ code: "rate_limited", retryAfter: 60_000 });
      expect(times).toHaveLength(1);
      expect(clock.delays).toEqual([]);
    });
  });

  it("tells of each try that failed, and of each pause before another", async () => {
    const clock = new ManualClock();
    const { send } = makeSend(clock, [server, limited(3_000), refused]);
    const told: unknown[] = [];
    const onFailure = (error: unknown) => void told.push(error);
    const onPause = (error: unknown, pause: number) => void told.push([error, pause]);
    const sent = withRetries(send, options(clock, { retries: 2, onFailure, onPause }));
    expect(await clock.drive(rejectionOf(sent))).toBe(refused);
    expect(told).toEqual([server, [server, 500], limited(3_000), [limited(3_000), 3_500], refused]);
  });

  it("without a deadline waits a minute for the service, and no longer", async () => {
    const clock = new ManualClock();
    const { send } = makeSend(clock, [limited(60_000)]);
    expect(await clock.drive(withRetries(send, options(clock)))).toBe("answer");
    const patient = makeSend(clock, [limited(60_001)]);
    expect(await rejectionOf(withRetries(patient.send, options(clock)))).toMatchObject({ retryAfter: 60_001 });
    expect(patient.times).toHaveLength(1);
  });

  it("with an endless deadline waits for as long as the service asks", async () => {
    const clock = new ManualClock();
    const { send } = makeSend(clock, [limited(3_600_000)]);
    const deadline = Number.POSITIVE_INFINITY;
    expect(await clock.drive(withRetries(send, options(clock, { deadline })))).toBe("answer");
    expect(clock.now()).toBe(3_600_500);
  });

  it("starts no try at or after the deadline", async () => {
    const clock = new ManualClock();
    const { send, times } = makeSend(clock, Array(10).fill(server));
    expect(await clock.drive(rejectionOf(withRetries(send, options(clock, { deadline: 3_500 }))))).toBe(server);
    // The third pause would end at 3 500.
    expect(times).toEqual([0, 500, 1_500]);
  });

  it("tries once even when the deadline has passed", async () => {
    const clock = new ManualClock();
    clock.advance(10);
    const { send } = makeSend(clock, []);
    expect(await withRetries(send, options(clock, { deadline: 5 }))).toBe("answer");
  });

  describe("when aborted", () => {
    it.each([new Error("stop"), "stop", undefined, new TypeError("stop")])(
      "in a pause rejects at once with %s",
      async (reason) => {
        const clock = new ManualClock();
        const controller = new AbortController();
        const { send, times } = makeSend(clock, [server]);
        const sent = rejectionOf(withRetries(send, options(clock, { signal: controller.signal })));
        await turns();
        expect(clock.pending).toBe(1);
        controller.abort(reason);
        expect(await sent).toBe(controller.signal.reason);
        expect(clock.pending).toBe(0);
        expect(times).toHaveLength(1);
      },
    );

    it.each([new Error("stop"), "stop", null, { why: "stop" }])(
      "in a try rejects with the reason %o as it is",
      async (reason) => {
        const clock = new ManualClock();
        const controller = new AbortController();
        const send = async () => {
          controller.abort(reason);
          throw reason;
        };
        expect(await rejectionOf(withRetries(send, options(clock, { signal: controller.signal })))).toBe(reason);
      },
    );

    it("during a try that succeeds all the same gives its answer, so that no job is lost", async () => {
      const clock = new ManualClock();
      const controller = new AbortController();
      const send = async () => {
        controller.abort("stop");
        return "answer";
      };
      expect(await withRetries(send, options(clock, { kind: "submission", signal: controller.signal }))).toBe("answer");
    });
  });
});

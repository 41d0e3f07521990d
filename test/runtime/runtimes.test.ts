import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Endpoints, openEndpoints, picture } from "./endpoints.ts";
import { makeProject } from "./project.ts";
import { type Runtime, runtimes, type Told } from "./runtimes.ts";

const base64 = picture.toString("base64");
const mayExist = { code: "submission_unknown", retryable: false, isOurs: true };
const neverArrived = { code: "connection", arrived: "no", retryable: true, isOurs: true };

let project: string;

beforeAll(() => {
  project = makeProject();
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe.each(runtimes)("on $name", (runtime: Runtime) => {
  let endpoints: Endpoints;
  let told: Record<string, Told>;
  let file: string;

  beforeAll(async () => {
    file = join(project, `${runtime.name.replace(/\W+/g, "-")}.png`);
    endpoints = await openEndpoints(file);
    const always = [
      "image",
      "sync",
      "abort",
      "timeout",
      "refused",
      "unresolved",
      "untrusted",
      "reset",
      "cut",
      "silence",
    ];
    const more = ["recovery", "redirect", "many", "leave", "later", "webhook", "secrecy", "save"];
    const names = [...always, ...more, runtime.hasEnvironment ? "environment" : "noEnvironment"];
    told = await runtime.play(project, names, endpoints.plan);
  });

  afterAll(() => endpoints?.close());

  test("an image comes whole, in each form, with its phases in order", () => {
    const image = { type: "image/png", filename: "alpha_1.png", width: 8, height: 8, hasAlpha: true, seed: 7 };
    expect(told["image"]).toMatchObject({ bytes: base64, isBytes: true, kind: runtime.bytes, image, hasJob: true });
    expect(told["image"]).toMatchObject({
      blob: { size: picture.length, type: "image/png" },
      file: { size: picture.length, type: "image/png", name: "alpha_1.png" },
      dataUrl: `data:image/png;base64,${base64}`,
    });
    const order = ["submitting", "queued", "starting", "throttled", "running", "decoding", "done"];
    const phases = told["image"]?.["phases"];
    expect(phases).toEqual(order.filter((phase) => Array.isArray(phases) && phases.includes(phase)));
    expect(phases).toEqual(expect.arrayContaining(["submitting", "queued", "decoding", "done"]));
    expect(told["sync"]).toEqual({ width: 8 });
  });

  test("the service is told who asks", () => {
    const agents = endpoints.of("steady").requests.map(({ headers }) => headers["user-agent"]);
    expect(new Set(agents)).toEqual(new Set([expect.stringMatching(/^layerdiffuse\/\d/)]));
  });

  test("an abort rejects with its reason, and a time-out with its error; both cancel the job", () => {
    expect(told["abort"]).toEqual({ isReason: true, isCancelled: true });
    expect(told["timeout"]).toMatchObject({ error: { code: "queue_timeout", isOurs: true }, isCancelled: true });
    expect(
      endpoints
        .of("cold")
        .jobs()
        .map(({ status }) => status),
    ).toEqual(["CANCELLED", "CANCELLED"]);
  });

  test.each(["refused", "unresolved", "untrusted"])(
    "a connection that never came to be (%s) is an error that says whether the job may exist",
    (name) => {
      // Where the runtime does not say, what is not known must not be claimed.
      expect(told[name]).toMatchObject(runtime.knowsRefusals ? neverArrived : mayExist);
    },
  );

  test.each([
    ["reset", "resetting"],
    ["cut", "cutting"],
    ["silence", "hanging"],
  ])("a submission whose answer is lost (%s) is sent once, and its error says that a job may exist", (name, where) => {
    const submissions = endpoints.of(where).requests.filter(({ operation }) => operation === "run");
    expect({ told: told[name], sent: submissions.length, jobs: endpoints.of(where).jobs().length }).toEqual({
      told: expect.objectContaining(mayExist),
      sent: 1,
      jobs: 1,
    });
  });

  test("waiting outlives a reset, a cut answer and a bad gateway", () => {
    expect(told["recovery"]).toEqual({ width: 8 });
  });

  test("a redirect is an error, and never followed with the key", () => {
    expect(told["redirect"]).toMatchObject({ code: "invalid_response", status: 307, isOurs: true });
    const { requests } = endpoints.of("redirecting");
    expect(requests.map(({ operation }) => operation)).toEqual(["health"]);
  });

  test("many images come as they finish, each failure in its own place", () => {
    expect(told["many"]).toEqual({
      done: [
        [0, "an apple", 8],
        [1, "a pear", 8],
        [2, " ", "invalid_input"],
        [3, "a fig", 8],
        [4, "a plum", 8],
      ],
    });
  });

  test("leaving the loop over many cancels what still runs", () => {
    expect(told["leave"]).toEqual({ count: 1, isIdle: true });
  });

  test("a job is submitted now and taken up later", () => {
    expect(told["later"]).toMatchObject({ width: 8 });
  });

  test("a webhook's call is read, and refused without its secret", () => {
    expect(told["webhook"]).toEqual({
      id: "job-1",
      code: "job_failed",
      wrong: expect.objectContaining({ code: "authentication", isOurs: true }),
    });
  });

  test("the program ends by itself as soon as it is done: no timer and no connection holds it", () => {
    expect(told["end"]?.["lingered"]).toBeLessThan(5_000);
  });

  test("the key is in nothing that is printed", () => {
    expect(told["secrecy"]).toEqual({ code: "authentication", isSecret: true });
  });

  test(
    runtime.hasEnvironment ? "the environment fills in what is left out" : "no environment is an error that says so",
    () => {
      if (runtime.hasEnvironment) expect(told["environment"]).toEqual({ width: 8 });
      else expect(told["noEnvironment"]).toMatchObject({ code: "configuration", isOurs: true });
    },
  );

  test(runtime.hasFiles ? "an image is saved" : "an image that cannot be saved says so", () => {
    expect(existsSync(file)).toBe(runtime.hasFiles);
    if (runtime.hasFiles) expect(readFileSync(file).equals(picture)).toBe(true);
    else expect(told["save"]).not.toMatchObject({ name: "no error" });
  });
});

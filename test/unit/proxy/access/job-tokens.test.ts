import fc from "fast-check";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { isJobId } from "../../../../src/protocol/job.ts";
import { JobTokens } from "../../../../src/proxy/access/job-tokens.ts";
import { keysOfApiKey, keysOfSecrets, Signer } from "../../../../src/proxy/access/signer.ts";

const old = "an old secret of 32 characters or more";
const fresh = "a new secret of 32 characters, or more";

function signerOf({ secrets = [old], endpoint = "endpoint" } = {}): Signer {
  return new Signer(
    () => endpoint,
    () => keysOfSecrets(secrets),
  );
}

function tokens({ now = 1_000, ...signed }: { secrets?: string[]; endpoint?: string; now?: number } = {}): JobTokens {
  return new JobTokens(signerOf(signed), () => now);
}

const job = { id: "abc-123-u1", issued: 1_000, expires: 2_000 };
const token = await tokens().issue("alice", job);

describe("a signature", () => {
  it.each(["", " ", ".", ",", "\n", "\0", '"', '","', "\\", '\\",\\"'])(
    "tells two texts from one with %j between them",
    async (between) => {
      const signer = new Signer(
        () => "endpoint",
        () => keysOfSecrets([old]),
      );
      const mac = await signer.signText(["a", "b"]);
      expect(await signer.check(["a", "b"], mac)).toBe(0);
      for (const parts of [
        [`a${between}b`],
        [`a${between}`, "b"].filter((part) => part !== "a"),
        [`a${between}b`, ""],
      ]) {
        if (parts.length === 2 || parts[0] !== "b") expect(await signer.check(parts, mac)).toBeUndefined();
      }
    },
  );
});

describe("a job's token", () => {
  it("is a job id, opens for its subject, and names the job", async () => {
    expect(isJobId(token)).toBe(true);
    expect(await tokens().read(token, "alice")).toEqual({ ...job, key: 0 });
  });

  it("of any id the service could give, for any subject, opens for that subject only", async () => {
    const ids = fc.stringMatching(/^[\w.~:-]{1,60}$/).filter(isJobId);
    const subject = fc.string({ unit: "binary", minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(ids, subject, subject, async (id, one, other) => {
        const issued = await tokens().issue(one, { ...job, id });
        expect((await tokens().read(issued, one))?.id).toBe(id);
        if (one !== other) expect(await tokens().read(issued, other)).toBeUndefined();
      }),
    );
  });

  it("opens no more with any one character bent, left out or put in (forgery)", async () => {
    const place = fc.nat(token.length - 1);
    const character = fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~:");
    await fc.assert(
      fc.asyncProperty(place, character, fc.constantFrom(0, 1, 2), async (at, by, kind) => {
        const [before, after] = [token.slice(0, kind === 2 ? at : at), token.slice(kind === 2 ? at : at + 1)];
        const bent = kind === 1 ? before + after : before + by + after;
        if (bent !== token) expect(await tokens().read(bent, "alice")).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it("has one form: the last character's unused bits must be as they were written (forgery)", async () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const opened: string[] = [];
    for (const last of alphabet) {
      if (await tokens().read(token.slice(0, -1) + last, "alice")) opened.push(last);
    }
    expect(opened).toEqual([token.slice(-1)]);
  });

  it("cannot be cut anew between its parts: id, subject and times cannot change places (forgery)", async () => {
    const [version, issued, expires, ...rest] = token.split(".");
    const mac = rest.at(-1);
    for (const forged of [
      [version, expires, issued, "abc-123-u1", mac],
      [version, issued, expires, "abc-123", mac],
      [version, issued, "zzzzzz", "abc-123-u1", mac],
      ["v2", issued, expires, "abc-123-u1", mac],
      [version, `0${issued}`, expires, "abc-123-u1", mac],
      ["abc-123-u1"],
    ]) {
      expect(await tokens().read(forged.join("."), "alice")).toBeUndefined();
    }
    const other = await tokens().issue("alice\u0000x", { ...job, id: "y" });
    expect(await tokens().read(other, "alice")).toBeUndefined();
  });

  it("that was opened before opens for nobody else, in no other form, and no longer than before", async () => {
    let now = job.issued;
    const all = new JobTokens(signerOf(), () => now);
    const own = await all.issue("alice", job);
    expect(await all.read(own, "alice")).toMatchObject({ id: job.id });
    expect(await all.read(token, "alice")).toMatchObject({ id: job.id });
    expect(await all.read(own, "bob")).toBeUndefined();
    expect(await all.read(`${own} b`, "ob")).toBeUndefined();
    expect(await all.read(`${own.slice(0, -1)}~`, "alice")).toBeUndefined();
    now = job.expires;
    expect(await all.read(own, "alice")).toBeUndefined();
  });

  it("is checked once by an instance, and those of long ago are forgotten", async () => {
    const verify = vi.spyOn(crypto.subtle, "verify");
    onTestFinished(() => verify.mockRestore());
    const all = new JobTokens(signerOf(), () => job.issued);
    for (let time = 0; time < 3; time++) await all.read(token, "alice");
    expect(verify).toHaveBeenCalledTimes(1);
    for (let index = 0; index < 10_000; index++) await all.issue("bob", { ...job, id: `${index}` });
    expect(await all.read(token, "alice")).toMatchObject({ id: job.id });
    expect(verify).toHaveBeenCalledTimes(2);
  });

  it("opens at no other endpoint, and with no other secret", async () => {
    expect(await tokens({ endpoint: "other" }).read(token, "alice")).toBeUndefined();
    expect(await tokens({ secrets: [fresh] }).read(token, "alice")).toBeUndefined();
  });

  it("still opens when the secret was changed and the old one is kept, and says by which", async () => {
    const both = tokens({ secrets: [fresh, old] });
    expect(await both.read(token, "alice")).toEqual({ ...job, key: 1 });
    const next = await both.issue("alice", job);
    expect(await tokens().read(next, "alice")).toBeUndefined();
    expect(await tokens({ secrets: [fresh] }).read(next, "alice")).toEqual({ ...job, key: 0 });
  });

  it.each([
    [1_999, true],
    [2_000, false],
    [9_999, false],
  ])("at second %i of 2 000 holds: %s", async (now, holds) => {
    expect((await tokens({ now }).read(token, "alice")) !== undefined).toBe(holds);
  });

  it("is signed alike by every instance with the same API key", async () => {
    const of = (key: string) =>
      new JobTokens(
        new Signer(
          () => "endpoint",
          () => keysOfApiKey(key),
        ),
        () => 1_000,
      );
    const issued = await of("rpa_1").issue("alice", job);
    expect(await of("rpa_1").read(issued, "alice")).toEqual({ ...job, key: 0 });
    expect(await of("rpa_2").read(issued, "alice")).toBeUndefined();
  });
});

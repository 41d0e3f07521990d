import { afterEach, describe, expect, it, vi } from "vitest";
import { isBrowser, readEnv, writeFile } from "../../../src/runtime/environment.ts";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

describe("isBrowser", () => {
  it.each([
    [{ userAgent: "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0" }, true],
    [{ userAgent: "Node.js/24" }, false],
    [{ userAgent: "Deno/2.5.0" }, false],
    [{ userAgent: "Bun/1.3.0" }, false],
    [{ userAgent: "Cloudflare-Workers" }, false],
    [{ product: "ReactNative" }, false],
    [undefined, false],
  ])("of the navigator %j is %s", (navigator, expected) => {
    vi.stubGlobal("navigator", navigator);
    expect(isBrowser()).toBe(expected);
  });
});

describe("readEnv", () => {
  it("reads a variable when asked, trimmed; an empty one is unset", () => {
    vi.stubEnv("LAYERDIFFUSE_TEST", " value\n");
    expect(readEnv("LAYERDIFFUSE_TEST")).toBe("value");
    vi.stubEnv("LAYERDIFFUSE_TEST", " ");
    expect(readEnv("LAYERDIFFUSE_TEST")).toBeUndefined();
    vi.stubEnv("LAYERDIFFUSE_TEST", undefined);
    expect(readEnv("LAYERDIFFUSE_TEST")).toBeUndefined();
  });

  it.each([
    ["no process", undefined],
    ["a process without environment", {}],
    [
      "an environment that may not be read",
      {
        get env() {
          throw new Error("NotCapable: requires env access");
        },
      },
    ],
  ])("knows nothing where there is %s", (_what, process) => {
    vi.stubGlobal("process", process);
    expect(readEnv("PATH")).toBeUndefined();
  });
});

describe("writeFile", () => {
  it("says no where there is no file system", async () => {
    for (const process of [undefined, {}, { getBuiltinModule: () => undefined }]) {
      vi.stubGlobal("process", process);
      expect(await writeFile("never.png", new Uint8Array())).toBe(false);
    }
  });
});

import { cpSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { makePng } from "../helpers/png.ts";
import { repository, runWell } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";

const packed = inject("packed");
const picture = makePng().toString("base64");
const nodes = ["Node 22", "Node 24"] as const;

/** A folder of this file's own, so that its programs lie beside an installed package and nobody else's way. */
let project: string;

beforeAll(() => {
  project = realpathSync(mkdtempSync(join(tmpdir(), "layerdiffuse-consumers-")));
  cpSync(packed.project, project, { recursive: true });
  cpSync(join(import.meta.dirname, "consumers"), project, { recursive: true });
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe.each(nodes)("on %s", (name) => {
  const node = (...args: string[]) => runWell(programOf(name), args, { cwd: project });

  test.each(["generate.mjs", "generate.cjs"])(
    "%s makes an image over a socket, all three entries loaded",
    async (file) => {
      const found: unknown = JSON.parse(await node(file, picture));
      const { version } = JSON.parse(await runWell("npm", ["pkg", "get", "version", "name"], { cwd: repository })) as {
        version: string;
      };
      const bytes = Buffer.from(picture, "base64").length;
      expect(found).toEqual({
        VERSION: version,
        manifest: version,
        bytes,
        width: 8,
        height: 8,
        hasAlpha: true,
        isKnown: true,
      });
    },
  );

  describe.each(["import", "require"])("%s", (manner) => {
    const built = (entry: string) => pathToFileURL(join(project, "node_modules/layerdiffuse/dist", entry)).href;
    const extension = manner === "import" ? "js" : "cjs";

    test("of layerdiffuse loads that one file, and does nothing", async () => {
      const found = JSON.parse(await node("observe.mjs", "layerdiffuse", manner)) as Record<string, string[]>;
      expect(found["exports"]).toEqual(expect.arrayContaining(["LayerDiffuse", "RunpodEndpoint", "parseWebhook"]));
      expect(found).toMatchObject({
        files: [built(`index.${extension}`)],
        builtins: [],
        environment: [],
        requests: [],
        printed: [],
        globals: [],
        resources: [],
      });
    });

    test("of layerdiffuse/local loads that one file and what Node has, and does nothing", async () => {
      const found = JSON.parse(await node("observe.mjs", "layerdiffuse/local", manner)) as Record<string, string[]>;
      expect(found["exports"]).toEqual(expect.arrayContaining(["createLocalEndpoint", "WorkerLostError"]));
      expect(found).toMatchObject({
        files: [built(`local/index.${extension}`)],
        environment: [],
        requests: [],
        printed: [],
        globals: [],
        resources: [],
      });
    });
  });
});

describe.each(["artist.mjs", "artist.cjs"])("the local endpoint's own artist, in %s,", (file) => {
  const artist = async () => JSON.parse(await runWell(programOf("Node 24"), [file], { cwd: project })) as unknown;
  const peer = "node_modules/@resvg";

  test("says what to install where its optional peer is missing", async () => {
    expect(await artist()).toMatchObject({
      code: expect.stringMatching(/failed/),
      message: expect.stringContaining("@resvg/resvg-js"),
    });
  });

  test("draws from the packed pictures where it is there", async () => {
    symlinkSync(join(repository, peer), join(project, peer), "junction");
    try {
      expect(await artist()).toMatchObject({ width: 1024, height: 1024, hasAlpha: true, info: { stand_in: true } });
    } finally {
      rmSync(join(project, peer));
    }
  });
});

import { cpSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
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

    const nothing = { environment: [], requests: [], printed: [], globals: [], resources: [] };
    const observe = async (name: string) => {
      const found = JSON.parse(await node("observe.mjs", name, manner)) as Record<string, string[]>;
      // Several files of a library name the same one.
      const files = [...new Set(found["files"])];
      const packageOf = (file: string) => /^.*node_modules\/([^/]+)/.exec(file)?.[1] ?? file;
      return {
        ...found,
        // zod keeps what all its copies share on the global object.
        globals: found["globals"]?.filter((key) => !key.startsWith("__zod_")),
        ours: files.filter((file) => packageOf(file) === "layerdiffuse"),
        libraries: [...new Set(files.map(packageOf))].filter((file) => file !== "layerdiffuse").sort(),
      };
    };

    test("of layerdiffuse loads one file and its libraries, and does nothing", async () => {
      const found = await observe("layerdiffuse");
      expect(found).toMatchObject({
        exports: expect.arrayContaining(["LayerDiffuse", "RunpodEndpoint", "parseWebhook"]),
        ours: [built(`index.${extension}`)],
        // zod lies in the file, without what isn't used; so does everything where modules can't be required.
        libraries: manner === "import" ? ["is-network-error", "ky", "p-retry", "p-timeout"] : [],
        builtins: [],
        ...nothing,
      });
    });

    test("of layerdiffuse/local loads one file, its libraries and what Node has, and does nothing", async () => {
      const found = await observe("layerdiffuse/local");
      expect(found).toMatchObject({
        exports: expect.arrayContaining(["createLocalEndpoint", "WorkerLostError"]),
        ours: [built(`local/index.${extension}`)],
        libraries: manner === "import" ? ["p-timeout", "zod"] : [],
        ...nothing,
      });
    });

    test("of layerdiffuse/proxy loads its own files and libraries, and does nothing", async () => {
      const found = await observe("layerdiffuse/proxy");
      const shared = found.ours.filter((file) => /\/dist\/proxy\/chunk-\w+\.js$/.test(file));
      expect(found).toMatchObject({
        exports: expect.arrayContaining(["createProxy"]),
        // By the condition `node`, with what it shares with the other entry. The server's library is loaded by the first listener.
        ours: manner === "import" ? [built("proxy/node.js"), ...shared] : [built("proxy/node.cjs")],
        libraries: manner === "import" ? ["is-network-error", "ky", "p-retry", "p-timeout"] : [],
        builtins: [],
        ...nothing,
      });
    });
  });
});

describe.each(["artist.mjs", "artist.cjs"])("the local endpoint's own artist, in %s,", (file) => {
  // Whoever runs these tests by npm has the repository's packages on the path, where they would be found.
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  const env = { PATH: path.join(delimiter) };
  const artist = async () => JSON.parse(await runWell(programOf("Node 24"), [file], { cwd: project, env })) as unknown;
  const peer = "node_modules/@resvg";

  test("says what to install where its optional peer is missing", async () => {
    expect(await artist()).toMatchObject({
      code: "renderer_missing",
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

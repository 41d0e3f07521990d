// Writes THIRD-PARTY-NOTICES.md: the licences of the packages whose code is part of the built files, as the bundler
// itself tells which they are. With --check it writes nothing, and fails when the file is out of date.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Metafile } from "esbuild";
import { build, type Options } from "tsup";
import tsupConfig from "../tsup.config.ts";

interface Bundled {
  name: string;
  version: string;
  homepage: string;
  licence: string;
  text: string;
}

const file = "THIRD-PARTY-NOTICES.md";

/** The folders of the packages that have bytes in what tsup builds with these options. */
async function bundledFolders(options: Options): Promise<string[]> {
  const outDir = mkdtempSync(join(tmpdir(), "layerdiffuse-notices-"));
  try {
    await build({ ...options, config: false, dts: false, clean: false, metafile: true, silent: true, outDir });
    return readdirSync(outDir)
      .filter((name) => /^metafile-.*\.json$/.test(name))
      .map((name) => JSON.parse(readFileSync(join(outDir, name), "utf8")) as Metafile)
      .flatMap(({ outputs }) => Object.values(outputs))
      .flatMap(({ inputs }) => Object.entries(inputs))
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .flatMap(([path]) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
  } finally {
    rmSync(outDir, { recursive: true, force: true });
  }
}

function describe(folder: string): Bundled {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<
    string,
    string
  >;
  const licenceFile = readdirSync(folder).find((entry) => /^licen[cs]e(\.(md|txt))?$/i.test(entry));
  if (!name || !version || !license || !licenceFile)
    throw new Error(`${folder} has no licence, or does not say its name.`);
  const text = readFileSync(join(folder, licenceFile), "utf8").trim();
  return { name, version, homepage: `https://www.npmjs.com/package/${name}`, licence: license, text };
}

function page(packages: readonly Bundled[]): string {
  const sections = packages.map(
    ({ name, version, homepage, licence, text }) =>
      `## ${name} ${version}\n\n<${homepage}>, ${licence}\n\n\`\`\`text\n${text}\n\`\`\`\n`,
  );
  return [
    "# Third-party notices\n",
    "Code of these packages is part of the files in `dist`. The licence of the pictures in `art` is in `art/LICENSE`.\n",
    ...sections,
  ].join("\n");
}

const configs = typeof tsupConfig === "function" ? await tsupConfig({ dts: false }) : tsupConfig;
const folders = new Set<string>();
for (const options of [configs].flat()) for (const folder of await bundledFolders(options)) folders.add(folder);
const packages = [...folders].map(describe).sort((a, b) => (a.name < b.name ? -1 : 1));
const wanted = page(packages);
const names = packages.map(({ name, version }) => `${name} ${version}`).join(", ");

if (!process.argv.includes("--check")) {
  writeFileSync(file, wanted);
  console.log(`${file}: ${names}`);
} else if (readFileSync(file, "utf8") === wanted) {
  console.log(`${file} is up to date: ${names}`);
} else {
  console.error(`${file} is out of date; the built files hold ${names}. Run \`node scripts/third-party-notices.ts\`.`);
  process.exitCode = 1;
}

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** A fenced block of a page. */
export interface Snippet {
  /** `docs/client.md:42` */
  at: string;
  page: string;
  language: string;
  code: string;
  /** What the comment before the fence says, `<!-- snippet: … -->`. */
  mark: string;
}

/** The pages that are kept by hand, relative to the root. */
export function handwrittenPages(): string[] {
  const docs = readdirSync(`${root}docs`).filter((name) => name.endsWith(".md"));
  return ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...docs.map((name) => `docs/${name}`)];
}

export function readPage(page: string): string {
  return readFileSync(`${root}${page}`, "utf8");
}

/** All fenced blocks, in order. */
export function snippetsOf(page: string): Snippet[] {
  const snippets: Snippet[] = [];
  let mark = "";
  let open: { indent: string; snippet: Snippet; lines: string[] } | undefined;
  for (const [index, line] of readPage(page).split("\n").entries()) {
    if (open) {
      if (line.trim() === "```") {
        snippets.push({ ...open.snippet, code: open.lines.join("\n") });
        open = undefined;
      } else {
        open.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line.trimStart());
      }
      continue;
    }
    const fence = /^(\s*)```(\S*)\s*$/.exec(line);
    const comment = /^\s*<!-- snippet: (.*) -->\s*$/.exec(line);
    if (fence) {
      const [, indent = "", language = ""] = fence;
      open = { indent, lines: [], snippet: { at: `${page}:${index + 1}`, page, language, code: "", mark } };
      mark = "";
    } else if (comment) {
      mark = comment[1] ?? "";
    } else if (line.trim() !== "") {
      mark = "";
    }
  }
  if (open) throw new Error(`${open.snippet.at}: the block does not end.`);
  return snippets;
}

/** A page without its code, where links and headings are what they seem. */
function prose(page: string): string {
  return readPage(page)
    .replace(/^\s*```[^\n]*\n[\s\S]*?^\s*```\s*$/gm, "")
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()#]/g, " "));
}

/** The targets of links and pictures. */
export function linksOf(page: string): string[] {
  const text = prose(page);
  const inline = [...text.matchAll(/\]\(([^()\s]+)\)/g)];
  const html = [...text.matchAll(/(?:src|href)="([^"]+)"/g)];
  return [...inline, ...html].map(([, target = ""]) => target);
}

/** What `#…` may name on a page, by GitHub's rule. */
export function anchorsOf(page: string): string[] {
  const text = readPage(page).replace(/^\s*```[^\n]*\n[\s\S]*?^\s*```\s*$/gm, "");
  return [...text.matchAll(/^#{1,6} (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

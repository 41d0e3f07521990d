import { createHash } from "node:crypto";
import type { JsonSchema } from "../../proxy/openapi/components.ts";
import type { ApiOperation, ApiResponse, MediaType, OpenApiDocument } from "../../proxy/openapi/document-types.ts";

const style = `
:root { color-scheme: light dark; --edge: light-dark(#d9d9e0, #3a3a44); --soft: light-dark(#f5f5f8, #1d1d23);
  --faint: light-dark(#5c5c68, #a3a3b0); --accent: light-dark(#a3123a, #ff8fa8); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; font: 1rem/1.5 system-ui, sans-serif;
  background: light-dark(#fff, #141418); color: light-dark(#1c1c22, #ececf1); overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 0; font-size: 1.05rem; font-weight: 600; } h3 { font-size: .95rem; margin: 1.2rem 0 .4rem; }
a { color: var(--accent); } p { margin: .4rem 0; } .faint { color: var(--faint); }
section { border: 1px solid var(--edge); border-radius: .6rem; margin-top: 1rem; padding: .8rem 1rem; }
h2 code { font-size: 1rem; background: none; padding: 0; } .method { color: var(--accent); font-weight: 700; }
code, pre { font-family: ui-monospace, monospace; font-size: .86rem; }
code { background: var(--soft); border-radius: .25rem; padding: .1rem .25rem; }
pre { background: var(--soft); border-radius: .4rem; margin: .4rem 0; overflow-x: auto; padding: .6rem .8rem; white-space: pre-wrap; }
pre code { background: none; padding: 0; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid var(--edge); padding: .35rem .8rem .35rem 0; vertical-align: top; }
td:first-child { width: 12rem; } td:last-child { padding-right: 0; }
@media (max-width: 40rem) { td { display: block; border-top: 0; padding: 0 0 .35rem; } td:first-child { border-top: 1px solid var(--edge); padding: .35rem 0 0; width: auto; } }
`;

/** The page loads, runs and sends nothing, and nobody may frame it. Its one style is allowed by digest. */
const policy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

export interface DocsPage {
  html: string;
  headers: Record<string, string>;
}

/** The document as a page without scripts and foreign content. */
export function docsPage(document: OpenApiDocument): DocsPage {
  const { info, paths, servers } = document;
  const server = servers[0]?.url ?? "/";
  const sections = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      // It says nothing that GET does not.
      .filter(([method]) => method !== "head")
      .map(([method, operation]) => section(document, server, method.toUpperCase(), path, operation)),
  );
  const { Problem } = document.components.schemas;
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(info.title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>${escaped(info.title)}</h1>
<p>${escaped(info.summary)} <span class="faint">Version ${escaped(info.version)}, at ${code(server)}</span></p>
<p>For programs: <a href="/openapi.json">openapi.json</a>. ${howToAsk(document)}</p>
</header>
<main>
${sections.join("\n")}
<section aria-labelledby="problems">
<h2 id="problems">Problems</h2>
<p>${words(Problem.description ?? "")} Programs go by ${code("code")}.</p>
${table("Body", fields(document, Problem))}
</section>
</main>
</body>
</html>
`;
  return { html, headers: { "content-security-policy": policy, "referrer-policy": "no-referrer" } };
}

function howToAsk({ components }: OpenApiDocument): string {
  if (!components.securitySchemes) return "Anyone may call; no token is needed.";
  return `Send ${code("Authorization: Bearer …")} with a token from the owner of the server.`;
}

function section(document: OpenApiDocument, server: string, method: string, path: string, it: ApiOperation): string {
  const id = escaped(it.operationId);
  const body = it.requestBody?.content["application/json"];
  const rows = (it.parameters ?? []).map(({ name, description, required, schema, in: where }) =>
    row(
      `${code(name)}${required ? "" : ' <span class="faint">optional</span>'}`,
      `${words(description)} <span class="faint">In the ${where}. ${limits(schema)}</span>`,
    ),
  );
  return `<section aria-labelledby="${id}">
<h2 id="${id}"><span class="method">${method}</span> <code>${escaped(path)}</code></h2>
<p>${words(it.summary)} ${words(it.description ?? "")}</p>
${table("Parameters", rows)}
${body ? table("Body", fields(document, body.schema)) : ""}
${method === "POST" && body?.example ? `<h3>Example</h3>${curl(server, path, it, body)}` : ""}
${table("Answers", answerRows(it))}
</section>`;
}

/** A row for each good answer, and one for all problems, which look alike. */
function answerRows({ responses }: ApiOperation): string[] {
  const all = Object.entries(responses).filter(([status]) => status !== "default");
  const isProblem = ({ content = {} }: ApiResponse) => "application/problem+json" in content;
  const problems = all.filter(([, response]) => isProblem(response));
  const list = problems.map(([status, { description }]) => `${code(status)} ${words(description)}`).join(" · ");
  return [
    ...all.filter(([, response]) => !isProblem(response)).map(answerRow),
    ...(problems.length > 0 ? [row('<a href="#problems">Problems</a>', list)] : []),
  ];
}

function answerRow([status, { description, content = {} }]: [string, ApiResponse]): string {
  const example = content["application/json"]?.example;
  const shown = example === undefined ? "" : `<pre><code>${escaped(JSON.stringify(example))}</code></pre>`;
  return row(code(status), `${words(description)}${shown}`);
}

/** The fields of a body, of each alternative where there are several. */
function fields(document: OpenApiDocument, schema: JsonSchema, prefix = ""): string[] {
  const known = schema.$ref === undefined ? schema : lookUp(document, schema.$ref);
  if (known.anyOf) return known.anyOf.flatMap((each) => fields(document, each, prefix));
  return Object.entries(known.properties ?? {}).flatMap(([name, property]) => {
    const isRequired = known.required?.includes(name) ?? false;
    const label = `${code(prefix + name)}${isRequired ? "" : ' <span class="faint">optional</span>'}`;
    const own = row(label, `${words(property.description ?? "")} <span class="faint">${limits(property)}</span>`);
    const within = property.items ? fields(document, property.items, `${prefix}${name}[].`) : [];
    return [own, ...within, ...(property.anyOf ? fields(document, property, `${prefix}${name}.`) : [])];
  });
}

function lookUp({ components }: OpenApiDocument, reference: string): JsonSchema {
  const name = reference.replace("#/components/schemas/", "");
  return Object.entries(components.schemas).find(([own]) => own === name)?.[1] ?? {};
}

function limits(schema: JsonSchema): string {
  const { type, const: only, minimum, maximum, multipleOf, maxLength, maxItems, enum: values } = schema;
  const parts = [
    only === undefined ? type && [type].flat().join(" or ") : JSON.stringify(only),
    minimum !== undefined && (maximum === undefined ? `from ${minimum} up` : `${minimum} to ${maximum}`),
    multipleOf && `a multiple of ${multipleOf}`,
    maxLength && `at most ${maxLength} characters`,
    maxItems && `at most ${maxItems}`,
    values?.map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(", "),
  ];
  return escaped(parts.filter(Boolean).join(", "));
}

function curl(server: string, path: string, { security }: ApiOperation, { example }: MediaType): string {
  const token = security.length > 0 ? " -H 'Authorization: Bearer YOUR-TOKEN'" : "";
  const call = `curl ${server}${path}${token} -H 'Content-Type: application/json' -d '${JSON.stringify(example)}'`;
  return `<pre><code>${escaped(call)}</code></pre>`;
}

function table(title: string, rows: readonly string[]): string {
  return rows.length === 0 ? "" : `<h3>${title}</h3><table>${rows.join("")}</table>`;
}

function row(label: string, value: string): string {
  return `<tr><td>${label}</td><td>${value}</td></tr>`;
}

function code(text: string): string {
  return `<code>${escaped(text)}</code>`;
}

/** A text with `code` in it. */
function words(text: string): string {
  return escaped(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

function escaped(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => names[character] ?? character);
}

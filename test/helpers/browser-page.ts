// Preloaded beside run-from-source.ts: as much of a browser's page as a snippet needs. It fails the
// program that puts no picture on the page. PAGE_URL is the page's address.
const shown: { src?: string }[] = [];

function define(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}

define("navigator", { userAgent: "Mozilla/5.0 (test)" });
define("location", new URL(process.env["PAGE_URL"] ?? "http://127.0.0.1/"));
define("Image", class {});
define("document", { body: { append: (element: { src?: string }) => shown.push(element) } });

process.on("exit", () => {
  if (shown.some(({ src }) => /^(blob|data):/.test(src ?? ""))) return;
  process.stderr.write("No picture is on the page.\n");
  process.exitCode = 1;
});

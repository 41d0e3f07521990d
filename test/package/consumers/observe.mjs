// Loads `argv[2]` by `argv[3]`, import or require, and prints as JSON all that doing so did to the process.
import { createRequire, isBuiltin, registerHooks } from "node:module";

const [, , name, manner] = process.argv;
const seen = { files: [], builtins: [], environment: [], requests: [], printed: [] };

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    if (!isBuiltin(found.url)) seen.files.push(found.url);
    // The Node's own loader resolves built-ins for itself too.
    else if (context.parentURL?.includes("node_modules")) seen.builtins.push(found.url);
    return found;
  },
});

// The frames are this function, the trap, and whoever asks. What Node asks for itself meanwhile doesn't count.
const fromPackage = () => new Error("who asks").stack?.split("\n")[3]?.includes("node_modules") === true;
Error.stackTraceLimit = Number.POSITIVE_INFINITY;
process.env = new Proxy(process.env, {
  get(target, key) {
    if (fromPackage()) seen.environment.push(String(key));
    return Reflect.get(target, key);
  },
  has(target, key) {
    if (fromPackage()) seen.environment.push(String(key));
    return Reflect.has(target, key);
  },
  ownKeys(target) {
    if (fromPackage()) seen.environment.push("*");
    return Reflect.ownKeys(target);
  },
});
globalThis.fetch = (input) => {
  seen.requests.push(String(input));
  throw new Error("no network here");
};
const write = process.stdout.write.bind(process.stdout);
for (const stream of [process.stdout, process.stderr]) stream.write = (text) => seen.printed.push(String(text)) > 0;
const globals = Object.getOwnPropertyNames(globalThis);
const resources = process.getActiveResourcesInfo();

const loaded = manner === "import" ? await import(name) : createRequire(import.meta.url)(name);

write(
  JSON.stringify({
    ...seen,
    exports: Object.keys(loaded).filter((key) => key !== "default" && key !== "module.exports"),
    globals: Object.getOwnPropertyNames(globalThis).filter((key) => !globals.includes(key)),
    resources: process.getActiveResourcesInfo().slice(resources.length),
  }),
);

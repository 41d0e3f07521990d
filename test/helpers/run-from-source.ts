// Preloaded by `node --import`: the package's own names lead to the sources, whatever folder the program
// lies in, and no host but this computer can be looked up.
import dns from "node:dns";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);
const sources: Readonly<Record<string, string>> = {
  layerdiffuse: "src/index.ts",
  "layerdiffuse/proxy": "src/proxy/node.ts",
  "layerdiffuse/local": "src/local/index.ts",
};

registerHooks({
  resolve(specifier, context, nextResolve) {
    const source = sources[specifier];
    if (source !== undefined) {
      const { href } = new URL(source, root);
      // `require` knows paths alone.
      return nextResolve(context.conditions.includes("require") ? fileURLToPath(href) : href, context);
    }
    // A snippet lies in a temporary folder, and finds what the repository has installed. A package finds its own.
    const { parentURL = root.href } = context;
    const isOutside = !parentURL.startsWith(root.href) && !parentURL.includes("/node_modules/");
    const isBare = /^[\w@]/.test(specifier) && !URL.canParse(specifier);
    return nextResolve(
      specifier,
      isBare && isOutside ? { ...context, parentURL: new URL("package.json", root).href } : context,
    );
  },
});

const { lookup } = dns;
dns.lookup = ((host: string, ...rest: never[]) => {
  if (!/^(localhost|127\..*|::1)$/.test(host)) throw new Error(`The network is out of bounds here: ${host}`);
  return (lookup as (...values: unknown[]) => void)(host, ...rest);
}) as unknown as typeof lookup;

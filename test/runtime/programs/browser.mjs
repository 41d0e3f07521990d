// Node under a browser's name, as bare as one; its fetch insists on its window, as theirs does. The plan is argv[3].
import "./stripped.mjs";
import { LayerDiffuse } from "layerdiffuse";

const { steady } = JSON.parse(process.argv[3]);
const { fetch } = globalThis;
globalThis.fetch = function (...args) {
  if (this !== undefined && this !== globalThis) throw new TypeError("Illegal invocation");
  return fetch(...args);
};
Object.defineProperty(globalThis, "navigator", {
  value: { userAgent: "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0" },
});
globalThis.location = new URL("/page?q=1", steady);

const code = async (make) => {
  try {
    return { made: await make() };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
};
const key = { endpointId: "local", apiKey: "local", baseUrl: steady };
const width = async (options) => (await new LayerDiffuse(options).generate("a red apple")).width;

console.log(
  JSON.stringify({
    guarded: await code(() => new LayerDiffuse(key)),
    allowed: await code(() => width({ ...key, dangerouslyAllowBrowser: true })),
    proxied: await code(() => width({ proxyUrl: "/v2/local" })),
    saved: await code(async () =>
      (await new LayerDiffuse({ proxyUrl: "/v2/local" }).generate("an apple")).save("none.png"),
    ),
  }),
);

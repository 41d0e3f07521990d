// `node serve-app.ts module export`: serves a handler of the Fetch API, or an app that holds one as `fetch`,
// and prints its address. The module finds that address as PUBLIC_URL.
import { pathToFileURL } from "node:url";
import { deferred } from "./deferred.ts";
import { serveFetch } from "./serve-fetch.ts";

type Handler = (request: Request) => Response | Promise<Response>;

const [file = "", name = "default"] = process.argv.slice(2);
const loaded = deferred<Handler>();
const { url } = await serveFetch(async (request) => (await loaded.promise)(request));
process.env["PUBLIC_URL"] = url;
const module: Record<string, Handler | { fetch: Handler }> = await import(pathToFileURL(file).href);
const app = module[name];
if (!app) throw new Error(`${file} exports no ${name}.`);
loaded.resolve(typeof app === "function" ? app : app.fetch);
process.stdout.write(`Serving at ${url}\n`);

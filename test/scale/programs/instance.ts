// One instance: `node instance.ts <file of a page's snippet> <port>`. Serves its `handler` by node:http.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { toNodeListener } from "layerdiffuse/proxy";

type Handler = (request: Request) => Promise<Response>;

const [file = "", port = ""] = process.argv.slice(2);
const { handler }: { handler: Handler } = await import(pathToFileURL(file).href);
createServer(toNodeListener(handler)).listen(Number(port), "127.0.0.1", () => process.stdout.write("Listening\n"));

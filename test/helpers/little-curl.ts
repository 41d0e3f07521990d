// Stands in for curl on machines without it: `curl [-fsS] [-X method] [-H header] [-d body] url`.
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    fail: { type: "boolean", short: "f" },
    silent: { type: "boolean", short: "s" },
    "show-error": { type: "boolean", short: "S" },
    request: { type: "string", short: "X" },
    header: { type: "string", short: "H", multiple: true, default: [] },
    data: { type: "string", short: "d" },
  },
});
const response = await fetch(positionals[0] ?? "", {
  method: values.request ?? (values.data === undefined ? "GET" : "POST"),
  headers: values.header.map((line): [string, string] => {
    const [name = "", ...rest] = line.split(":");
    return [name, rest.join(":").trim()];
  }),
  ...(values.data === undefined ? {} : { body: values.data }),
});
process.stdout.write(new Uint8Array(await response.arrayBuffer()));
if (values.fail && !response.ok) process.exitCode = 22;

/** Options that several commands have in common, and the parts of their help. */
import { type Command, Option } from "commander";
import { UsageError } from "../terminal/failures.ts";
import { by } from "./flag-values.ts";

export function withConnection<Kind extends Command>(command: Kind): Kind {
  return command
    .option("--endpoint <id>", "ID of the endpoint (default: RUNPOD_ENDPOINT_ID)")
    .option("--base-url <url>", "Address of the service (default: RUNPOD_BASE_URL, else RunPod)")
    .addOption(new Option("--api-key <key>").hideHelp().argParser(refuseKey));
}

export function withOutputStyle<Kind extends Command>(
  command: Kind,
  quiet = "Print nothing but errors to stderr",
): Kind {
  return command
    .option("--json", "Print the result, or the error, as one JSON object to stdout")
    .option("-q, --quiet", quiet);
}

export function withTimeLimits<Kind extends Command>(command: Kind): Kind {
  return command
    .option(
      "--timeout <seconds>",
      "Longest run once a worker has the job (default: 300)",
      by((is) => is.seconds),
    )
    .option(
      "--queue-timeout <seconds>",
      "Longest wait for a worker, cold start included (default: 600)",
      by((is) => is.seconds),
    )
    .option(
      "--price-per-second <usd>",
      "What a second on the worker costs, to report the cost",
      by((is) => is.price),
    );
}

/** An argument is seen by everybody on the machine, in `ps` and in the shell's history. */
function refuseKey(): never {
  throw new UsageError(
    "Set the API key in RUNPOD_API_KEY only: everybody on this machine can read the arguments of a command.",
  );
}

export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}\n`;
}

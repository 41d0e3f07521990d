import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../terminal/failures.ts";

/** The options that several commands have in common, and how their values are read. */

export function withConnection(command: Command): Command {
  return command
    .option("--endpoint <id>", "the endpoint's id (default: RUNPOD_ENDPOINT_ID)")
    .option("--base-url <url>", "where the service is (default: RUNPOD_BASE_URL, else RunPod)")
    .addOption(new Option("--api-key <key>").hideHelp().argParser(refuseKey));
}

export function withManner(command: Command, quietly = "nothing but errors on stderr"): Command {
  return command
    .option("--json", "the result as one JSON object on stdout, failures too")
    .option("-q, --quiet", quietly);
}

export function withWaiting(command: Command): Command {
  return command
    .option("--timeout <seconds>", "longest run once a worker has the job (default: 300)", seconds)
    .option("--queue-timeout <seconds>", "longest wait for a worker, cold start included (default: 600)", seconds)
    .option("--price-per-second <usd>", "what a second on the worker costs; gives the cost", number);
}

export function number(value: string): number {
  const parsed = Number(value);
  if (value.trim() === "" || Number.isNaN(parsed)) throw new InvalidArgumentError("It must be a number.");
  return parsed;
}

/** A time above 0, in milliseconds. */
export function seconds(value: string): number {
  const parsed = Number(value);
  if (!(parsed > 0)) throw new InvalidArgumentError("It must be a number of seconds above 0.");
  return parsed * 1000;
}

/** As {@link seconds}, 0 included. */
export function secondsOrNone(value: string): number {
  const parsed = value.trim() === "" ? Number.NaN : Number(value);
  if (!(parsed >= 0)) throw new InvalidArgumentError("It must be a number of seconds, or 0 for none.");
  return parsed * 1000;
}

export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (value: string) => number {
  return (value) => {
    const parsed = number(value);
    if (Number.isInteger(parsed) && parsed >= least && parsed <= most) return parsed;
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} up` : `from ${least} to ${most}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

/** An argument is seen by everybody on the machine, in `ps` and in the shell's history. */
function refuseKey(): never {
  throw new UsageError(
    "The API key is taken from RUNPOD_API_KEY only: as an argument, everybody on this machine could read it.",
  );
}

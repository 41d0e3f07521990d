import { nearest } from "../../schema/did-you-mean.ts";
import { usualHost, usualPort } from "../local/listening.ts";
import type { LocalFlags } from "../local/local-flags.ts";
import { UsageError } from "../terminal/failures.ts";
import type { OutputStyle, Session } from "../terminal/session.ts";
import { by } from "./flag-values.ts";
import type { HintingCommand } from "./hinting-command.ts";
import { examples, withOutputStyle } from "./shared-options.ts";

export function addLocal(program: HintingCommand, session: Session): void {
  const command = program
    .command("local")
    .description("Run an endpoint on this computer that speaks the same protocol, without account or GPU")
    .option(
      "--worker <command>",
      "Shell command that starts a worker (default: a stand-in artist draws)",
      by((is) => is.notBlank('a command, such as "python handler.py"')),
    )
    .option("--no-worker", "Start no worker: jobs wait for workers that you start by hand or in a container")
    .option("--cwd <dir>", "Folder that workers run in (default: the current folder)")
    .option(
      "--workers <n>",
      "Most workers at once (default: 3)",
      by((is) => is.wholeNumber(0)),
    )
    .option(
      "--min-workers <n>",
      "Workers to keep running without jobs (default: 0)",
      by((is) => is.wholeNumber(0)),
    )
    .option(
      "--throttle [seconds]",
      "Pretend that no GPU is free: for this long before each cold start, or forever",
      by((is) => is.seconds),
    )
    .option(
      "--cold-start <seconds>",
      "Time to add to each start of a worker (default: 0)",
      by((is) => is.secondsOrNone),
    )
    .option(
      "--idle-timeout <seconds>",
      "Time that a worker stays up without a job (default: 5)",
      by((is) => is.secondsOrNone),
    )
    .option(
      "--queue-delay <seconds>",
      "Time that a job waits before a worker starts (default: 0)",
      by((is) => is.secondsOrNone),
    )
    .option(
      "--init-timeout <seconds>",
      "Longest start of a worker (default: 420)",
      by((is) => is.seconds),
    )
    .option(
      "--execution-timeout <seconds>",
      "Time limit for jobs that don't set their own (default: 600)",
      by((is) => is.seconds),
    )
    .option(
      "--lease <seconds>",
      "Time after which a job whose worker was lost is queued again (default: 40)",
      by((is) => is.seconds),
    )
    .option("--data <dir>", "Folder to keep jobs in across restarts (default: in memory only)")
    .option("--host <address>", "Address to listen on; 0.0.0.0 lets other computers and containers in", usualHost)
    .option(
      "-p, --port <n>",
      "Port to listen on; 0 for any free port",
      by((is) => is.port),
      usualPort,
    )
    .option("--faults <file>", "JSON file with an array of faults to inject")
    .option("--print-env", "Print the environment for a worker that you start by hand, and exit");
  // To commander both are one value, and the last one counts.
  const given = new Set<string>();
  for (const name of ["worker", "no-worker"]) command.on(`option:${name}`, () => given.add(name));
  command.hint = (code) => unquotedWorker(code, command);
  withOutputStyle(command, "Print nothing but errors to stderr: no lines to paste, no log")
    .addHelpText(
      "after",
      examples(
        "layerdiffuse local",
        "layerdiffuse local --cold-start 20 --workers 1",
        'layerdiffuse local --worker "python handler.py" --cwd worker-image --workers 1 --data jobs',
        "layerdiffuse local --no-worker --print-env",
        "layerdiffuse local --port 0 --json",
      ),
    )
    .action(async (flags: LocalFlags & OutputStyle) => {
      session.setOutputStyle(flags);
      if (given.size === 2) throw new UsageError("Pass --worker, or --no-worker to start none; not both.");
      const { local } = await import("../local/run-local.ts");
      await local(session, flags);
    });
}

/** Words behind a worker's command of one word most likely belong to it. */
function unquotedWorker(code: string, command: HintingCommand): string | undefined {
  const { worker } = command.opts<LocalFlags>();
  if (typeof worker !== "string" || /\s/.test(worker)) return undefined;
  if (code !== "commander.unknownOption" && code !== "commander.excessArguments") return undefined;
  const flag = command.args.find((argument) => argument.startsWith("--"));
  const known = command.options.flatMap(({ long }) => long ?? []);
  // A slip in one of our own flags; commander names the right one.
  if (flag !== undefined && nearest(flag, known) !== undefined) return undefined;
  return '(Quote the whole command: --worker "python handler.py")';
}

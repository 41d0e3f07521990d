import { Command, Option } from "commander";
import { VERSION } from "../runtime/environment.ts";
import type { BatchFlags } from "./batch/batch.ts";
import {
  number,
  seconds,
  secondsOrNone,
  wholeNumber,
  withConnection,
  withManner,
  withWaiting,
} from "./commands/shared-options.ts";
import type { ConnectionFlags } from "./jobs/connect.ts";
import type { OutputFlags } from "./jobs/destination.ts";
import type { GenerateFlags, WaitFlags } from "./jobs/generate-image.ts";
import { usualHost, usualPort } from "./local/listening.ts";
import type { LocalFlags } from "./local/local-flags.ts";
import type { ServeFlags } from "./serve/serve-flags.ts";
import { exitCodeLines } from "./terminal/exit-codes.ts";
import { UsageError } from "./terminal/failures.ts";
import type { Session } from "./terminal/session.ts";

interface MannerFlags {
  json?: boolean;
  quiet?: boolean;
}

/** As commander gives them: what was not said is absent. */
type ParsedGenerateFlags = Omit<GenerateFlags, "output"> &
  Partial<Pick<BatchFlags, "output" | "batch" | "concurrency">>;

const environment = `
Environment:
  RUNPOD_API_KEY      the API key. Never an argument: every user of the machine could read it in ps
  RUNPOD_ENDPOINT_ID  the endpoint, unless --endpoint names it
  RUNPOD_BASE_URL     another service than RunPod, such as \`layerdiffuse local\`
  DEBUG               any value: errors come with a stack trace`;

/** The commands and their help. Each loads its code when it runs. */
export function createProgram(session: Session): Command {
  const { io } = session;
  const program = new Command("layerdiffuse")
    .description("Text in, transparent PNG out, from a GPU endpoint you own on RunPod Serverless.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: (text, write) => write(text + promptHint(text)),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
    })
    .showHelpAfterError("Try: layerdiffuse --help");
  addGenerate(program, session);
  addResult(program, session);
  addCancel(program, session);
  addHealth(program, session);
  addLocal(program, session);
  addServe(program, session);
  for (const command of program.commands) command.showHelpAfterError(`Try: layerdiffuse ${command.name()} --help`);
  program.addHelpText("after", () =>
    [
      examples(
        'layerdiffuse generate "a red apple"',
        "layerdiffuse generate --batch prompts.txt -o pictures",
        "layerdiffuse local",
        "layerdiffuse generate --help",
      ),
      environment.trimStart(),
      `\nExit codes:\n${exitCodeLines().join("\n")}`,
    ].join("\n"),
  );
  return program;
}

function addGenerate(program: Command, session: Session): void {
  const command = program
    .command("generate")
    .description("make a transparent PNG, or one for each prompt of a list")
    .argument("[prompt...]", "what to draw, in quotes")
    .option("-o, --output <path>", "the file, - for stdout; with --batch the folder (default: output.png)")
    .option("-f, --force", "overwrite what exists")
    .option("--negative <text>", "what to keep out")
    .option("--seed <n>", "the same seed makes the same picture (default: drawn, and told)", number)
    .option("--steps <n>", "1 to 100", number)
    .option("--cfg-scale <n>", "how closely to follow the prompt, 1 to 30", number)
    .option("--width <px>", "a multiple of 64", number)
    .option("--height <px>", "a multiple of 64", number)
    .option("--sampler <name>", 'such as "DPM++ 2M SDE", "Euler a"')
    .option("--scheduler <name>", "such as Karras, Exponential")
    .option("--preset <name>", "such as general, aesthetic, logo, icon_3d")
    .addOption(new Option("--mode <mode>", "async, or sync: one held request first").choices(["async", "sync"]))
    .option("--batch <list>", "one prompt a line, or JSON lines; - for stdin")
    .option("--concurrency <n>", "jobs at once with --batch (default: 8)", wholeNumber(1));
  withConnection(withManner(withWaiting(command)))
    .addHelpText(
      "after",
      examples(
        'layerdiffuse generate "a red apple"',
        'layerdiffuse generate "a red apple" -o apple.png --seed 7 --steps 30',
        'layerdiffuse generate "a red apple" -o - | magick - -resize 256 small.png',
        'layerdiffuse generate "a red apple" --json --quiet | jq .seed',
        "layerdiffuse generate --batch prompts.txt -o pictures --concurrency 20",
      ) +
        `
A list has one prompt a line. Blank lines and lines that begin with # are left out; a line that begins with { is
JSON with the input's fields, such as {"prompt":"a red apple","seed":7,"negativePrompt":"leaf"}. What is in the
folder already is not made again, and manifest.jsonl there tells how each prompt ended.

Ctrl-C cancels on the endpoint what runs there.
${environment}

Exit codes: layerdiffuse --help`,
    )
    .action(async (words: string[], flags: ParsedGenerateFlags & MannerFlags) => {
      speakAs(session, flags);
      if (flags.batch !== undefined) {
        if (words.length > 0) throw new UsageError("Give a prompt or --batch, not both.");
        if (flags.output === undefined || flags.output === "-") {
          throw new UsageError("--batch makes many files. Name their folder: -o pictures");
        }
        const { batch } = await import("./batch/batch.ts");
        return await batch(session, { concurrency: 8, ...flags, output: flags.output, batch: flags.batch });
      }
      if (flags.concurrency !== undefined) throw new UsageError("--concurrency goes with --batch.");
      if (words.length !== 1) {
        const typed = words.length > 1 ? words.join(" ") : "a red apple";
        throw new UsageError(`One prompt is needed, in quotes: layerdiffuse generate ${JSON.stringify(typed)}`);
      }
      const { generate } = await import("./jobs/generate-image.ts");
      await generate(session, words.join(), { ...flags, output: flags.output ?? "output.png" });
    });
}

function addResult(program: Command, session: Session): void {
  const command = program
    .command("result")
    .description("wait for a job that was submitted before, and fetch its image")
    .argument("<id>", "the job's id")
    .option("-o, --output <path>", "the file, - for stdout", "output.png")
    .option("-f, --force", "overwrite what exists");
  withConnection(withManner(withWaiting(command)))
    .addHelpText("after", examples("layerdiffuse result 4f1c2d3e-e1 -o apple.png"))
    .addHelpText("after", "\nThe service keeps a result for 30 minutes. Ctrl-C stops the waiting, not the job.")
    .action(async (id: string, flags: ConnectionFlags & OutputFlags & WaitFlags & MannerFlags) => {
      speakAs(session, flags);
      const { result } = await import("./jobs/fetch-result.ts");
      await result(session, id, flags);
    });
}

function addCancel(program: Command, session: Session): void {
  const command = program.command("cancel").description("stop a job").argument("<id>", "the job's id");
  withConnection(withManner(command))
    .addHelpText("after", examples("layerdiffuse cancel 4f1c2d3e-e1"))
    .action(async (id: string, flags: ConnectionFlags & MannerFlags) => {
      speakAs(session, flags);
      const { cancel } = await import("./jobs/fetch-result.ts");
      await cancel(session, id, flags);
    });
}

function addHealth(program: Command, session: Session): void {
  const command = program.command("health").description("how many workers and jobs the endpoint has");
  withConnection(withManner(command))
    .addHelpText("after", examples("layerdiffuse health", "layerdiffuse health --json | jq .workers.idle"))
    .action(async (flags: ConnectionFlags & MannerFlags) => {
      speakAs(session, flags);
      const { health } = await import("./jobs/show-health.ts");
      await health(session, flags);
    });
}

function addLocal(program: Command, session: Session): void {
  const command = program
    .command("local")
    .description("run an endpoint on this computer: the same wire, no account, no GPU")
    .option("--worker <command>", "what starts a worker, by the shell (default: a stand-in artist draws)")
    .option("--no-worker", "start none: jobs wait for workers started by hand or in a container")
    .option("--cwd <dir>", "where workers run (default: here)")
    .option("--workers <n>", "workers at most (default: 3)", wholeNumber(0))
    .option("--min-workers <n>", "workers that are kept up without jobs (default: 0)", wholeNumber(0))
    .option("--throttle [seconds]", "no GPU to be had: for so long before each cold start, or for good", seconds)
    .option("--cold-start <seconds>", "how long a worker takes to get up, beside what it really takes", secondsOrNone)
    .option("--idle-timeout <seconds>", "how long a worker without a job stays up (default: 5)", secondsOrNone)
    .option("--queue-delay <seconds>", "how long a job waits before a worker is started for it", secondsOrNone)
    .option("--init-timeout <seconds>", "longest start of a worker (default: 420)", seconds)
    .option("--execution-timeout <seconds>", "longest run of a job that does not say (default: 600)", seconds)
    .option("--lease <seconds>", "how long a job whose worker is lost counts as running (default: 40)", seconds)
    .option("--data <dir>", "keep jobs there, over restarts (default: in memory only)")
    .option("--host <address>", "where it listens; 0.0.0.0: other computers and containers reach it", usualHost)
    .option("-p, --port <n>", "where it listens; 0: any free port", wholeNumber(0, 65_535), usualPort)
    .option("--faults <file>", "troubles to come: a JSON array, see the local endpoint's documentation")
    .option("--print-env", "print the environment of a worker started by hand, and end");
  // One value stands for both to commander, where the last one counts.
  const asked = new Set<string>();
  for (const name of ["worker", "no-worker"]) command.on(`option:${name}`, () => asked.add(name));
  withManner(command, "nothing but errors on stderr: neither lines to paste nor the log")
    .configureOutput({
      outputError: (text, write) => write(text + workerHint(text, command.opts<LocalFlags>())),
    })
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
    .action(async (flags: LocalFlags & MannerFlags) => {
      speakAs(session, flags);
      if (asked.size === 2) throw new UsageError("Pass --worker, or --no-worker to start none; not both.");
      const { local } = await import("./local/run-local.ts");
      await local(session, flags);
    });
}

function addServe(program: Command, session: Session): void {
  const command = program
    .command("serve")
    .description("the HTTP API and the proxy for pages as a server: who asks has a token, the key stays here")
    .option("--local", "over a stand-in artist in this process: no account, no GPU")
    .option("--public", "let anyone in who reaches it")
    .option("--tokens-file <file>", "who may ask: name:token, one a line (default: LAYERDIFFUSE_TOKENS)")
    .option("--token <name:token>", "the same, for trying out: others on this machine can read it; repeatable", listed)
    .option("--storage <dir>", "where pictures are kept (default: in memory, for an hour)")
    .option("--public-url <url>", "where others reach it: makes addresses absolute, and has RunPod call back")
    .option("--origin <origin>", "a page's origin that may call, such as https://app.example.com; repeatable", listed)
    .option("--concurrency <n>", "jobs at once of one name (default: 4)", wholeNumber(1))
    .option("--rate-per-minute <n>", "jobs a minute of one name (default: 30)", wholeNumber(1))
    .option("--sync-wait <seconds>", "how long a request is held at most (default: 55)", seconds)
    .option(
      "--stop-timeout <seconds>",
      "how long what is held may take to end, once it is to stop (default: 7)",
      secondsOrNone,
      7_000,
    )
    .option("--host <address>", "where it listens; 0.0.0.0: other computers reach it", "127.0.0.1")
    .option("-p, --port <n>", "where it listens; 0: any free port", wholeNumber(0, 65_535), 8787);
  withConnection(withManner(command))
    .addHelpText(
      "after",
      examples(
        "layerdiffuse serve --local",
        'LAYERDIFFUSE_TOKENS="shop:$(openssl rand -hex 24)" layerdiffuse serve --storage images',
        "layerdiffuse serve --tokens-file tokens.txt --host 0.0.0.0 --public-url https://images.example.com",
      ) +
        `
Environment:
  RUNPOD_API_KEY, RUNPOD_ENDPOINT_ID, RUNPOD_BASE_URL   as for the other commands; not read with --local
  LAYERDIFFUSE_TOKENS   who may ask: name:token, parted by commas or white space
  LAYERDIFFUSE_SECRET   signs job ids, the same on all instances: 32 characters or more; "new,old" changes it
                        (default: derived from the API key)`,
    )
    .action(async (flags: ServeFlags & MannerFlags) => {
      speakAs(session, flags);
      const { serve } = await import("./serve/run-serve.ts");
      await serve(session, flags);
    });
}

function listed(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** Whoever leaves the command out most likely wants a picture. */
function promptHint(error: string): string {
  const prompt = /unknown command '(.*\s.*)'/.exec(error)?.[1];
  return prompt === undefined ? "" : `(Did you mean: layerdiffuse generate ${JSON.stringify(prompt)}?)\n`;
}

/** Words behind a command of one word most likely belong to it. */
function workerHint(error: string, { worker }: LocalFlags): string {
  if (typeof worker !== "string" || /\s/.test(worker) || error.includes("Did you mean")) return "";
  if (!/unknown option|too many arguments/.test(error)) return "";
  return '(Quote the whole command: --worker "python handler.py")\n';
}

function speakAs(session: Session, { json = false, quiet = false }: MannerFlags): void {
  session.isJson = json;
  session.isQuiet = quiet;
}

function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}\n`;
}

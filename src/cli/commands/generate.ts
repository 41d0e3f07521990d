import { Option } from "commander";
import type { BatchFlags } from "../batch/batch-messages.ts";
import type { GenerateFlags } from "../jobs/generate-image.ts";
import { connectionVariables } from "../terminal/environment-variables.ts";
import { UsageError } from "../terminal/failures.ts";
import type { OutputStyle, Session } from "../terminal/session.ts";
import { by } from "./flag-values.ts";
import type { HintingCommand } from "./hinting-command.ts";
import { examples, withConnection, withOutputStyle, withTimeLimits } from "./shared-options.ts";

/** As commander gives them: a flag that was not given is absent. */
type Flags = Omit<GenerateFlags, "output"> &
  Partial<Pick<BatchFlags, "output" | "batch" | "concurrency" | "dryRun" | "resubmitUnknown">> &
  OutputStyle;

const usualConcurrency = 8;

export function addGenerate(program: HintingCommand, session: Session): void {
  const command = program
    .command("generate")
    .description("Generate a transparent PNG, or one for each prompt in a list")
    .argument("[prompt...]", "What to draw, in quotes, or - to read it from stdin")
    .option("-o, --output <path>", "File to write, or - for stdout; with --batch, a folder (default: output.png)")
    .option("-f, --force", "Overwrite existing files")
    .option(
      "--negative <text>",
      "What to keep out of the image",
      by((is) => is.input.negativePrompt),
    )
    .option(
      "--seed <n>",
      "Seed; the same seed makes the same image (default: a random seed, reported in the result)",
      by((is) => is.input.seed),
    )
    .option(
      "--steps <n>",
      "Number of steps, 1 to 100",
      by((is) => is.input.steps),
    )
    .option(
      "--cfg-scale <n>",
      "How closely to follow the prompt, 1 to 30",
      by((is) => is.input.cfgScale),
    )
    .option(
      "--width <px>",
      "Width, a multiple of 64",
      by((is) => is.input.width),
    )
    .option(
      "--height <px>",
      "Height, a multiple of 64",
      by((is) => is.input.height),
    )
    .option(
      "--sampler <name>",
      'Sampler, such as "DPM++ 2M SDE" or "Euler a"',
      by((is) => is.input.sampler),
    )
    .option(
      "--scheduler <name>",
      "Scheduler, such as Karras or Exponential",
      by((is) => is.input.scheduler),
    )
    .option(
      "--preset <name>",
      "Style preset, such as general, aesthetic, logo or icon_3d",
      by((is) => is.input.preset),
    )
    .addOption(new Option("--mode <mode>", "async, or sync to try one held request first").choices(["async", "sync"]))
    .option("--batch <list>", "File with one prompt per line, JSON lines or a JSON list; - for stdin")
    .option(
      "--concurrency <n>",
      `Jobs to run at once with --batch (default: ${usualConcurrency})`,
      by((is) => is.wholeNumber(1)),
    )
    .option("--dry-run", "With --batch: say what would be done and what it may cost, and send nothing")
    .option("--resubmit-unknown", "With --batch: submit prompts again whose submission got no clear answer");
  withConnection(withOutputStyle(withTimeLimits(command)))
    .addHelpText(
      "after",
      examples(
        'layerdiffuse generate "a red apple"',
        'layerdiffuse generate "a red apple" -o apple.png --seed 7 --steps 30',
        'layerdiffuse generate "a red apple" -o - | magick - -resize 256 small.png',
        'layerdiffuse generate "a red apple" --json --quiet | jq .seed',
        "layerdiffuse generate --batch prompts.txt -o images --concurrency 20",
        "layerdiffuse generate --batch prompts.txt -o images --dry-run --price-per-second 0.00031",
        "layerdiffuse generate - < prompt.txt",
      ) +
        `
A list has one prompt per line. Blank lines and lines that start with # are skipped. A line that starts with { is
JSON with the fields of the input, such as {"prompt":"a red apple","seed":7,"negativePrompt":"leaf"}. A file may also be
one JSON list of prompts and such objects. The whole list is checked before anything is sent.

Run the same command again to go on: images that are already in the folder are not made again, and jobs that
manifest.jsonl in the folder names are taken up. A prompt whose submission got no clear answer is not sent again without
--resubmit-unknown, because a job may exist.

Ctrl-C cancels the jobs on the endpoint, and says what became of each.

${connectionVariables}

Exit codes: layerdiffuse --help`,
    )
    .action(async (words: string[], flags: Flags) => {
      session.setOutputStyle(flags);
      if (flags.batch !== undefined) {
        if (words.length > 0) throw new UsageError("Pass a prompt or --batch, not both.");
        if (flags.output === undefined || flags.output === "-") {
          throw new UsageError("--batch makes many files. Name their folder: -o images");
        }
        const { batch } = await import("../batch/batch.ts");
        return await batch(session, {
          concurrency: usualConcurrency,
          ...flags,
          output: flags.output,
          batch: flags.batch,
        });
      }
      if (flags.concurrency !== undefined) throw new UsageError("--concurrency goes with --batch.");
      if (flags.dryRun) throw new UsageError("--dry-run goes with --batch.");
      if (flags.resubmitUnknown) throw new UsageError("--resubmit-unknown goes with --batch.");
      if (words.length !== 1) {
        const typed = words.length > 1 ? words.join(" ") : "a red apple";
        throw new UsageError(`Pass one prompt, in quotes: layerdiffuse generate ${JSON.stringify(typed)}`);
      }
      const { generate } = await import("../jobs/generate-image.ts");
      await generate(session, words.join(), { ...flags, output: flags.output ?? "output.png" });
    });
}

import { VERSION } from "../runtime/environment.ts";
import { addCancel } from "./commands/cancel.ts";
import { addGenerate } from "./commands/generate.ts";
import { addHealth } from "./commands/health.ts";
import { HintingCommand } from "./commands/hinting-command.ts";
import { addLocal } from "./commands/local.ts";
import { addResult } from "./commands/result.ts";
import { addServe } from "./commands/serve.ts";
import { examples } from "./commands/shared-options.ts";
import { connectionVariables } from "./terminal/environment-variables.ts";
import { exitCodeLines } from "./terminal/exit-codes.ts";
import type { Session } from "./terminal/session.ts";

/** The commands and their help. Each loads its code when it runs. */
export function createProgram(session: Session): HintingCommand {
  const { io } = session;
  const program = new HintingCommand("layerdiffuse");
  program
    .description("Generate transparent PNGs from text, on a GPU endpoint that you own on RunPod Serverless.")
    .version(VERSION, "-V, --version", "Print the version")
    .helpOption("-h, --help", "Print this help")
    .helpCommand("help [command]", "Print the help of a command")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
    })
    .showHelpAfterError("Try: layerdiffuse --help");
  program.hint = (code) => promptWithoutCommand(code, program.args);
  for (const add of [addGenerate, addResult, addCancel, addHealth, addLocal, addServe]) add(program, session);
  for (const command of program.commands) command.showHelpAfterError(`Try: layerdiffuse ${command.name()} --help`);
  program.addHelpText("after", () =>
    [
      examples(
        'layerdiffuse generate "a red apple"',
        "layerdiffuse generate --batch prompts.txt -o images",
        "layerdiffuse local",
        "layerdiffuse generate --help",
      ),
      connectionVariables,
      `\nExit codes:\n${exitCodeLines().join("\n")}`,
    ].join("\n"),
  );
  return program;
}

/** Whoever leaves the command out most likely wants an image. */
function promptWithoutCommand(code: string, [prompt]: readonly string[]): string | undefined {
  if (code !== "commander.unknownCommand" || prompt === undefined || !/\s/.test(prompt)) return undefined;
  return `(Did you mean: layerdiffuse generate ${JSON.stringify(prompt)}?)`;
}

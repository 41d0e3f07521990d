import type { ServeFlags } from "../serve/serve-flags.ts";
import { serverVariables } from "../terminal/environment-variables.ts";
import type { OutputStyle, Session } from "../terminal/session.ts";
import { by, eachBy } from "./flag-values.ts";
import type { HintingCommand } from "./hinting-command.ts";
import { examples, withConnection, withOutputStyle } from "./shared-options.ts";

export function addServe(program: HintingCommand, session: Session): void {
  const command = program
    .command("serve")
    .description(
      "Run the HTTP API and the proxy for web pages as a server: callers need a token, the API key stays here",
    )
    .option("--local", "Use a stand-in artist in this process: no account, no GPU")
    .option("--public", "Let anyone in who can reach the server")
    .option(
      "--tokens-file <file>",
      "File with the callers' tokens, one name:token per line (default: LAYERDIFFUSE_TOKENS)",
    )
    .option(
      "--token <name:token>",
      "Token of a caller, to try things out: others on this machine can read it; repeatable",
      // Checked where it is read: commander would print a wrong one, and with it a secret.
      eachBy((is) => is.text),
    )
    .option(
      "--storage <dir>",
      "Folder to keep images in (default: in memory, for an hour)",
      // A variable that is not set would put the images wherever this was started.
      by((is) => is.notBlank("the path of a folder")),
    )
    .option(
      "--public-url <url>",
      "Address at which others reach the server: makes URLs absolute and lets RunPod call back",
      by((is) => is.address),
    )
    .option(
      "--origin <origin>",
      "Origin of a page that may call, such as https://app.example.com; repeatable",
      eachBy((is) => is.origin),
    )
    .option(
      "--concurrency <n>",
      "Most jobs at once for each name (default: 4)",
      by((is) => is.wholeNumber(1)),
    )
    .option(
      "--rate-per-minute <n>",
      "Most jobs a minute for each name (default: 30)",
      by((is) => is.wholeNumber(1)),
    )
    .option(
      "--sync-wait <seconds>",
      "Longest time to hold a request (default: 55)",
      by((is) => is.seconds),
    )
    .option(
      "--stop-timeout <seconds>",
      "Time that open requests have to finish when the server stops (default: 7)",
      by((is) => is.secondsOrNone),
    )
    .option("--host <address>", "Address to listen on; 0.0.0.0 lets other computers in", "127.0.0.1")
    .option(
      "-p, --port <n>",
      "Port to listen on; 0 for any free port",
      by((is) => is.port),
      8787,
    );
  withConnection(withOutputStyle(command))
    .addHelpText(
      "after",
      `${examples(
        "layerdiffuse serve --local",
        'LAYERDIFFUSE_TOKENS="shop:$(openssl rand -hex 24)" layerdiffuse serve --storage images',
        "layerdiffuse serve --tokens-file tokens.txt --host 0.0.0.0 --public-url https://images.example.com",
      )}\n${serverVariables}`,
    )
    .action(async (flags: ServeFlags & OutputStyle) => {
      session.setOutputStyle(flags);
      const { serve } = await import("../serve/run-serve.ts");
      await serve(session, flags);
    });
}

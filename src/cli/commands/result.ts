import type { ConnectionFlags } from "../jobs/connect.ts";
import type { OutputFlags } from "../jobs/destination.ts";
import type { WaitFlags } from "../jobs/generate-image.ts";
import type { OutputStyle, Session } from "../terminal/session.ts";
import type { HintingCommand } from "./hinting-command.ts";
import { examples, withConnection, withOutputStyle, withTimeLimits } from "./shared-options.ts";

export function addResult(program: HintingCommand, session: Session): void {
  const command = program
    .command("result")
    .description("Wait for a job that was submitted earlier, and fetch its image")
    .argument("<id>", "ID of the job")
    .option("-o, --output <path>", "File to write, or - for stdout", "output.png")
    .option("-f, --force", "Overwrite existing files");
  withConnection(withOutputStyle(withTimeLimits(command)))
    .addHelpText("after", examples("layerdiffuse result 4f1c2d3e-e1 -o apple.png"))
    .addHelpText(
      "after",
      "\nThe service keeps a result for 30 minutes. Ctrl-C stops waiting and leaves the job running.",
    )
    .action(async (id: string, flags: ConnectionFlags & OutputFlags & WaitFlags & OutputStyle) => {
      session.setOutputStyle(flags);
      const { fetchResult } = await import("../jobs/fetch-result.ts");
      await fetchResult(session, id, flags);
    });
}

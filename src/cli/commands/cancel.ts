import type { ConnectionFlags } from "../jobs/connect.ts";
import type { OutputStyle, Session } from "../terminal/session.ts";
import type { HintingCommand } from "./hinting-command.ts";
import { examples, withConnection, withOutputStyle } from "./shared-options.ts";

export function addCancel(program: HintingCommand, session: Session): void {
  const command = program.command("cancel").description("Cancel a job").argument("<id>", "ID of the job");
  withConnection(withOutputStyle(command))
    .addHelpText("after", examples("layerdiffuse cancel 4f1c2d3e-e1"))
    .action(async (id: string, flags: ConnectionFlags & OutputStyle) => {
      session.setOutputStyle(flags);
      const { connect } = await import("../jobs/connect.ts");
      const { client } = connect(session, flags, { showsProgress: false });
      const { status } = await client.job(id).cancel({ signal: session.signal });
      await session.answer(session.isJson ? JSON.stringify({ jobId: id, status }) : status);
      if (status === "COMPLETED") {
        await session.note(`The job had already completed. To fetch its image: layerdiffuse result ${id} -o FILE`);
      }
    });
}

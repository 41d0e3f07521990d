import type { LayerDiffuse } from "../../client/layer-diffuse.ts";
import type { ConnectionFlags } from "../jobs/connect.ts";
import type { OutputStyle, Session } from "../terminal/session.ts";
import type { HintingCommand } from "./hinting-command.ts";
import { examples, withConnection, withOutputStyle } from "./shared-options.ts";

export function addHealth(program: HintingCommand, session: Session): void {
  const command = program.command("health").description("Show how many workers and jobs the endpoint has");
  withConnection(withOutputStyle(command))
    .addHelpText("after", examples("layerdiffuse health", "layerdiffuse health --json | jq .workers.idle"))
    .action(async (flags: ConnectionFlags & OutputStyle) => {
      session.setOutputStyle(flags);
      const { connect } = await import("../jobs/connect.ts");
      const health = await connect(session, flags, { showsProgress: false }).client.health({ signal: session.signal });
      for (const line of session.isJson ? [JSON.stringify(health)] : healthLines(health)) await session.answer(line);
    });
}

function healthLines({ workers, jobs }: Awaited<ReturnType<LayerDiffuse["health"]>>): string[] {
  const { idle, running, ready, initializing, throttled, unhealthy } = workers;
  const { inQueue, inProgress, completed, failed, retried } = jobs;
  return [
    `workers  ${idle} idle, ${running} running, ${ready} ready, ${initializing} initializing, ${throttled} throttled, ${unhealthy} unhealthy`,
    `jobs     ${inQueue} in the queue, ${inProgress} in progress, ${completed} completed, ${failed} failed, ${retried} retried`,
  ];
}

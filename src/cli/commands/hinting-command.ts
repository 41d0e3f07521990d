import { Command } from "commander";

type ErrorOptions = NonNullable<Parameters<Command["error"]>[1]>;

/** A command that can say more of some of commander's errors than commander knows. */
export class HintingCommand extends Command {
  /**
   * A line to stand below an error, where there is something to add.
   *
   * @param code commander's, such as `commander.unknownOption`; {@link Command.args} has the arguments
   */
  hint: (code: string) => string | undefined = () => undefined;

  override createCommand(name?: string): HintingCommand {
    return new HintingCommand(name);
  }

  override error(message: string, options: ErrorOptions = {}): never {
    const hint = options.code === undefined ? undefined : this.hint(options.code);
    return super.error(hint === undefined ? message : `${message}\n${hint}`, options);
  }
}

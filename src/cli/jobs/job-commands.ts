/** What to type to go on with a job, for messages: the whole command, ready to be pasted. */
import type { EndpointFlags } from "./endpoint-access.ts";

/** The flags that a command for the same job needs too. */
export interface CommandFlags extends EndpointFlags {
  output?: string;
  force?: boolean;
}

export function goesOn(id: string, flags: CommandFlags): string {
  return `Job ${id} was not cancelled. To wait for it: ${resultCommand(id, flags)}. To stop it: ${cancelCommand(id, flags)}`;
}

/** For an image that could not be written where it was to go. */
export function isKept(id: string, { output: _, force: __, ...flags }: CommandFlags): string {
  return `The image of job ${id} is kept on the endpoint for a while. To fetch it: ${resultCommand(id, flags)}`;
}

/** The command that waits for a job and fetches its image, as it is to be typed. */
export function resultCommand(id: string, { output, force, ...flags }: CommandFlags): string {
  const file = output === undefined || output === "-" ? "FILE" : quoted(output);
  return `layerdiffuse result ${id} -o ${file}${force ? " --force" : ""}${endpointFlags(flags)}`;
}

export function cancelCommand(id: string, flags: EndpointFlags): string {
  return `layerdiffuse cancel ${id}${endpointFlags(flags)}`;
}

/** What the environment says, the next command finds there too. */
function endpointFlags({ endpoint, baseUrl }: EndpointFlags): string {
  const flag = (name: string, value: string | undefined) => (value === undefined ? "" : ` ${name} ${quoted(value)}`);
  return flag("--endpoint", endpoint) + flag("--base-url", baseUrl);
}

/** An argument as all shells take it. */
function quoted(argument: string): string {
  return /^[\w./:@%+,=-]+$/.test(argument) ? argument : `"${argument}"`;
}

import { messageOf, UsageError } from "../terminal/failures.ts";
import type { Session } from "../terminal/session.ts";
import { word } from "./shell.ts";

/**
 * Makes sure that the stand-in artist can draw, before a server says that it is there.
 *
 * @throws UsageError with the command that brings the package along, as the user typed it
 */
export async function requireRenderer({ argv, io }: Session): Promise<void> {
  const { loadRenderer, RendererMissingError, rendererPackage } = await import("../../local/artist/draw.ts");
  try {
    await loadRenderer();
  } catch (cause) {
    if (!(cause instanceof RendererMissingError && cause.isAbsent)) throw new UsageError(messageOf(cause), { cause });
    const command = ["npx -p layerdiffuse -p", rendererPackage, "layerdiffuse", ...withoutTokens(argv)]
      .map((part, index) => (index < 3 ? part : word(io.platform, part)))
      .join(" ");
    throw new UsageError(`The stand-in artist draws with ${rendererPackage}, which is not installed. Run: ${command}`, {
      cause,
    });
  }
}

/** The arguments as they were typed, but for secrets: what this program prints may end in a log. */
function withoutTokens(argv: readonly string[]): string[] {
  return argv.map((argument, index) => {
    if (argv[index - 1] === "--token") return "NAME:TOKEN";
    return argument.startsWith("--token=") ? "--token=NAME:TOKEN" : argument;
  });
}

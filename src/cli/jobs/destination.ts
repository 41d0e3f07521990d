import { extname } from "node:path";
import type { GeneratedImage } from "../../image/generated-image.ts";
import { AdvisedError, messageOf, OutputError, UsageError } from "../terminal/failures.ts";
import { duration } from "../terminal/format.ts";
import { writeAll } from "../terminal/io.ts";
import type { Session } from "../terminal/session.ts";
import type { EndpointFlags } from "./endpoint-access.ts";
import { imageRecord, imageSummary, warningLines } from "./image-record.ts";
import { isKept } from "./job-commands.ts";
import { OutputFile } from "./output-file.ts";

export interface OutputFlags {
  output: string;
  force?: boolean;
}

/** Where an image is written. */
export interface Destination {
  /** Absent for standard output. */
  path?: string;
  /** @throws OutputError */
  write(bytes: Uint8Array): Promise<void>;
}

/** The endings of other kinds of images: a program that opens the file would go by them. */
const otherFormats = new Set(
  "jpg jpeg jpe jfif webp gif bmp avif tif tiff heic heif jxl svg ico psd pdf".split(" ").map((ending) => `.${ending}`),
);

/**
 * Makes sure that the image can be written, before anything is submitted.
 *
 * @throws UsageError and OutputError
 */
export async function prepareDestination(
  session: Session,
  { output, force = false }: OutputFlags,
): Promise<Destination> {
  const { io, isJson } = session;
  if (otherFormats.has(extname(output).toLowerCase())) {
    const name = output.slice(0, -extname(output).length).replace(/\.png$/i, "");
    throw new UsageError(
      `Images are PNG files, for their transparency, and ${output} is named as another kind. Name it ${name}.png`,
    );
  }
  if (output !== "-") return await OutputFile.prepare(output, { cwd: io.cwd, force });
  if (isJson) throw new UsageError("--json and -o - both write to standard output. Name a file: -o output.png");
  if (io.stdout.isTTY && !force) {
    throw new OutputError("-o - would write a PNG to the terminal. Redirect it (-o - > output.png), or pass --force");
  }
  return { write: (bytes) => writeToStdout(session, bytes) };
}

/** Writes the image and prints what it took. When it cannot be written, the error says how to fetch it again. */
export async function deliver(
  session: Session,
  image: GeneratedImage,
  to: Destination,
  elapsed: number,
  flags: EndpointFlags,
): Promise<void> {
  try {
    await to.write(image.bytes);
  } catch (error) {
    throw new AdvisedError(error, image.job.id, isKept(image.job.id, flags));
  }
  if (session.isJson) await session.answer(JSON.stringify({ path: to.path, ...imageRecord(image) }));
  else if (to.path !== undefined) await session.answer(to.path);
  for (const line of warningLines(image)) await session.note(line);
  await session.note(`done in ${duration(elapsed)}: ${imageSummary(image)}`);
}

async function writeToStdout({ io }: Session, bytes: Uint8Array): Promise<void> {
  try {
    await writeAll(io.stdout, bytes);
  } catch (cause) {
    throw new OutputError(`Cannot write to standard output: ${messageOf(cause)}.`, { cause });
  }
}

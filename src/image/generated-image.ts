import { ConfigurationError, FileError } from "../errors/index.ts";
import type { AlphaShares, ImageWarning } from "../protocol/worker-output.ts";
import { writeFile } from "../runtime/environment.ts";
import { encodeBase64 } from "./base64.ts";
import { checkPixelsNow } from "./pixels.ts";
import { type Png, readPng } from "./png.ts";

/** What is known of the job that generated an image. */
export interface ImageJob {
  id: string;
  /** Milliseconds in the queue, cold start included. */
  delayTime?: number;
  /** Milliseconds on the worker. */
  executionTime?: number;
  workerId?: string;
  /** USD: `executionTime` at the client's `pricePerSecond`, to six decimals. A cold start costs extra. */
  cost?: number;
}

/** What is known of an image besides its bytes. */
export interface AboutImage {
  filename?: string | undefined;
  seed?: number | undefined;
  info?: Record<string, unknown> | undefined;
  warnings?: readonly ImageWarning[] | undefined;
  alpha?: AlphaShares | undefined;
  job?: ImageJob | undefined;
}

/** Creates an image of a PNG that was checked. Not exported from the package. */
export let imageOf: (png: Png, about: AboutImage) => GeneratedImage;

/** A PNG with transparency, checked to be complete. */
export class GeneratedImage {
  /** The PNG file, a `Buffer` where that class exists, as on Node. Straight (not premultiplied) alpha. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type = "image/png";
  /** The worker's name for the file, without folders. */
  readonly filename: string;
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  readonly hasAlpha: boolean;
  /** Generates the same image again. `undefined` if neither the client nor the worker knows it. */
  readonly seed: number | undefined;
  /** The worker's record of the generation; empty if it sent none. */
  readonly info: Record<string, unknown>;
  /** The worker's remarks on the image, such as `no_transparency`; usually empty. */
  readonly warnings: readonly ImageWarning[];
  /** How much of the image is transparent, if the worker counted. */
  readonly alpha: AlphaShares | undefined;
  readonly job: ImageJob;

  private constructor({ bytes, width, height, hasAlpha }: Png, about: AboutImage) {
    const { filename = "image.png", seed, info = {}, warnings = [], alpha, job = { id: "" } } = about;
    this.bytes = bytes;
    this.filename = filename;
    this.width = width;
    this.height = height;
    this.hasAlpha = hasAlpha;
    this.seed = seed;
    this.info = info;
    this.warnings = warnings;
    this.alpha = alpha;
    this.job = job;
  }

  static {
    imageOf = (png, about) => new GeneratedImage(png, about);
  }

  /**
   * Creates an image from your own bytes, to test code that takes images.
   *
   * @param bytes a complete PNG. What follows its end is left out. Whether the pixels decompress is checked where
   * node:zlib exists (Node, Bun, Deno), not in browsers
   * @param about whatever your test needs. Defaults: an empty `job.id`, and `image.png` as `filename`
   * @throws InvalidImageError if the bytes are not a complete PNG
   */
  static from(bytes: Uint8Array<ArrayBuffer>, about: AboutImage = {}): GeneratedImage {
    const png = readPng(bytes);
    checkPixelsNow(png);
    return imageOf(png, about);
  }

  blob(): Blob {
    return new Blob([this.bytes], { type: this.type });
  }

  file(): File {
    return new File([this.bytes], this.filename, { type: this.type });
  }

  /** `data:image/png;base64,…` */
  dataUrl(): string {
    return `data:${this.type};base64,${encodeBase64(this.bytes)}`;
  }

  /**
   * Writes the file and overwrites an existing one. Works on Node, Bun and Deno.
   *
   * @throws FileError if the file can't be written (you still have the image: save it elsewhere);
   * ConfigurationError if there is no file system
   */
  async save(path: string | URL): Promise<void> {
    let isWritten: boolean;
    try {
      isWritten = await writeFile(path, this.bytes);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new FileError(
        `The image could not be saved to ${path}: ${why}. You still have the image: save it elsewhere.`,
        {
          jobId: this.job.id || undefined,
          cause,
        },
      );
    }
    if (isWritten) return;
    throw new ConfigurationError(
      "save() needs a file system (Node 22.3, Bun or Deno). Use bytes, blob(), file() or dataUrl().",
    );
  }

  /** Everything except the bytes, for a log or a database. */
  toJSON(): Omit<GeneratedImage, "bytes" | "blob" | "file" | "dataUrl" | "save" | "toJSON"> {
    const { bytes: _, ...rest } = this;
    return rest;
  }
}

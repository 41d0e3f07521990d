import { readPng } from "../../image/png.ts";
import type { Clock } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import { encodeBase64Url, type Signer } from "../access/signer.ts";
import { Problem } from "../problem.ts";
import type { ImageStorage } from "./memory-storage.ts";

/** `alpha_{unix seconds}_{16 bytes}.png`. The last character of 16 bytes has four empty bits. */
export const fileName = /^alpha_\d{1,12}_[\w-]{21}[AQgw]\.png$/;

/** The longest time that a storage may take, in milliseconds. */
const slowest = { read: 5_000, write: 10_000 };
/** Seconds after which a caller should try again. */
const tryAgain = "5";

/**
 * Names, stores and loads finished images. A storage that fails or says nothing is a 503: the image is made and paid
 * for, and the endpoint keeps it for half an hour, so it is there when the storage is back.
 */
export class StoredImages {
  readonly #storage: ImageStorage;
  readonly #signer: Signer;
  readonly #clock: Clock;

  constructor(storage: ImageStorage, signer: Signer, clock: Clock) {
    this.#storage = storage;
    this.#signer = signer;
    this.#clock = clock;
  }

  /**
   * Returns the name of a job's image. It cannot be guessed, and whoever knows it may see the image. It is derived from
   * the job, so that every instance and the webhook arrive at the same name.
   */
  async nameOf({ id, issued, key }: { id: string; issued: number; key: number }): Promise<string> {
    const bytes = await this.#signer.sign(["file", id, String(issued)], key);
    return `alpha_${issued}_${encodeBase64Url(bytes.subarray(0, 16))}.png`;
  }

  static isName(name: string): boolean {
    return fileName.test(name);
  }

  /** @throws Problem 503 */
  async has(name: string): Promise<boolean> {
    const storage = this.#storage;
    if (!storage.hasItem) return (await this.load(name)) !== undefined;
    return await this.#ask(async () => (await storage.hasItem?.(name)) ?? false, slowest.read);
  }

  /** @throws Problem 503 */
  async store(name: string, bytes: Uint8Array): Promise<void> {
    await this.#ask(() => this.#storage.setItemRaw(name, bytes), slowest.write);
  }

  /** @throws Problem 503, InvalidImageError if the stored bytes are not an image */
  async load(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = bytesOf(await this.#ask(() => this.#storage.getItemRaw(name), slowest.read));
    return bytes && readPng(bytes).bytes;
  }

  async #ask<Answer>(ask: () => Promise<Answer>, milliseconds: number): Promise<Answer> {
    const onLate = () => {
      throw new Error(`The storage did not answer within ${milliseconds} ms.`);
    };
    try {
      return await withTimeLimit(ask, { clock: this.#clock, milliseconds, onLate });
    } catch (cause) {
      const detail = "The server cannot reach its images right now. The image is not lost. Ask for it again later.";
      throw new Problem({ status: 503, code: "server", detail, cause, headers: { "retry-after": tryAgain } });
    }
  }
}

/** Storage drivers return bytes in different forms. */
function bytesOf(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!ArrayBuffer.isView(value)) return undefined;
  const { buffer, byteOffset, byteLength } = value;
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, byteLength) : undefined;
}

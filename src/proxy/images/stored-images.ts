import { readPng } from "../../image/png.ts";
import { encodeBase64Url, type Signer } from "../access/signer.ts";
import type { ImageStorage } from "./memory-storage.ts";

/** `alpha_{unix seconds}_{16 bytes}.png`. The last character of 16 bytes has four empty bits. */
export const fileName = /^alpha_\d{1,12}_[\w-]{21}[AQgw]\.png$/;

/** Names, stores and loads finished images. */
export class StoredImages {
  readonly #storage: ImageStorage;
  readonly #signer: Signer;

  constructor(storage: ImageStorage, signer: Signer) {
    this.#storage = storage;
    this.#signer = signer;
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

  async has(name: string): Promise<boolean> {
    return this.#storage.hasItem ? await this.#storage.hasItem(name) : (await this.load(name)) !== undefined;
  }

  async store(name: string, bytes: Uint8Array): Promise<void> {
    await this.#storage.setItemRaw(name, bytes);
  }

  /** @throws InvalidImageError if the stored bytes are not an image */
  async load(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = bytesOf(await this.#storage.getItemRaw(name));
    return bytes && readPng(bytes).bytes;
  }
}

/** Storage drivers return bytes in different forms. */
function bytesOf(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!ArrayBuffer.isView(value)) return undefined;
  const { buffer, byteOffset, byteLength } = value;
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, byteLength) : undefined;
}

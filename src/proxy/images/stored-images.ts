import { readPng } from "../../image/png.ts";
import { encodeBase64Url, type Signer } from "../access/signer.ts";
import type { ImageStorage } from "./memory-storage.ts";

/** `alpha_{unix seconds}_{16 bytes}.png`; the last character of 16 bytes has four empty bits. */
export const fileName = /^alpha_\d{1,12}_[\w-]{21}[AQgw]\.png$/;

/** Where finished pictures lie, and what they are called. */
export class Images {
  readonly #storage: ImageStorage;
  readonly #signer: Signer;

  constructor(storage: ImageStorage, signer: Signer) {
    this.#storage = storage;
    this.#signer = signer;
  }

  /**
   * The name of a job's picture. It cannot be guessed, and whoever knows it may see the picture. It follows from the
   * job, so that every instance, and the webhook, arrive at the same.
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

  /** @throws InvalidImageError when something else lies there */
  async load(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = bytesOf(await this.#storage.getItemRaw(name));
    if (bytes) readPng(bytes);
    return bytes;
  }
}

/** Drivers give bytes in whatever form they have them. */
function bytesOf(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!ArrayBuffer.isView(value)) return undefined;
  const { buffer, byteOffset, byteLength } = value;
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, byteLength) : undefined;
}

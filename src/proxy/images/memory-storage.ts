import type { Clock } from "../../runtime/clock.ts";

/** Where pictures are kept: a `Storage` of `unstorage`, or anything with these methods. */
export interface ImageStorage {
  /** Bytes in whatever form; nothing for an unknown name. */
  getItemRaw(key: string): Promise<unknown>;
  setItemRaw(key: string, value: Uint8Array): Promise<void>;
  hasItem?(key: string): Promise<boolean>;
}

/** Bounds of the storage in memory: the oldest go first. Bytes, milliseconds. */
export const memoryBounds = { images: 200, bytes: 256 * 1024 * 1024, age: 60 * 60_000 };

interface Item {
  bytes: Uint8Array;
  storedAt: number;
}

/** The last pictures, in this process. */
export class MemoryStorage implements ImageStorage {
  readonly #clock: Clock;
  readonly #bounds: typeof memoryBounds;
  /** The oldest first. */
  readonly #items = new Map<string, Item>();
  #bytes = 0;

  constructor(clock: Clock, bounds = memoryBounds) {
    this.#clock = clock;
    this.#bounds = bounds;
  }

  async getItemRaw(key: string): Promise<Uint8Array | undefined> {
    this.#evict();
    return this.#items.get(key)?.bytes;
  }

  async setItemRaw(key: string, value: Uint8Array): Promise<void> {
    this.#remove(key);
    this.#items.set(key, { bytes: value, storedAt: this.#clock.now() });
    this.#bytes += value.length;
    this.#evict();
  }

  async hasItem(key: string): Promise<boolean> {
    this.#evict();
    return this.#items.has(key);
  }

  #evict(): void {
    const { images, bytes, age } = this.#bounds;
    for (const [key, { storedAt }] of this.#items) {
      const isOld = this.#clock.now() - storedAt >= age;
      if (!isOld && this.#items.size <= images && this.#bytes <= bytes) return;
      this.#remove(key);
    }
  }

  #remove(key: string): void {
    this.#bytes -= this.#items.get(key)?.bytes.length ?? 0;
    this.#items.delete(key);
  }
}

import type { Clock } from "../../runtime/clock.ts";

/** Stores images: a `Storage` of `unstorage`, or anything with these methods. */
export interface ImageStorage {
  /** Resolves with the bytes as an `ArrayBuffer` or a view of one, and with nothing for an unknown name. */
  getItemRaw(key: string): Promise<unknown>;
  setItemRaw(key: string, value: Uint8Array): Promise<void>;
  hasItem?(key: string): Promise<boolean>;
}

/** Limits of the storage in memory, in bytes and milliseconds. The oldest images go first. */
export const memoryBounds = { images: 200, bytes: 256 * 1024 * 1024, age: 60 * 60_000 };

interface Item {
  bytes: Uint8Array;
  storedAt: number;
}

/** Keeps the latest images in this process. */
export class MemoryStorage implements ImageStorage {
  readonly #clock: Clock;
  readonly #bounds: typeof memoryBounds;
  /** Oldest first. */
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

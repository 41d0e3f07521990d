import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { GenerateInput } from "layerdiffuse";
import type { FinishedImage } from "./picture.ts";

/** A finished image with all that it takes to show it again and to generate it again. */
export interface StoredImage {
  readonly jobId: string;
  readonly requestedAt: number;
  readonly input: GenerateInput;
  readonly image: FinishedImage;
}

interface Schema extends DBSchema {
  images: { key: string; value: StoredImage };
}

/** The images that this browser keeps, in IndexedDB. They cost money, so they survive a reload. */
export class ImageStore {
  readonly #database: IDBPDatabase<Schema>;

  private constructor(database: IDBPDatabase<Schema>) {
    this.#database = database;
  }

  /** Rejects if the browser keeps nothing, as some do in a private window. */
  static async open(): Promise<ImageStore> {
    const database = await openDB<Schema>("layerdiffuse", 1, {
      // A job stored twice, by a reload at the wrong moment, is one image all the same.
      upgrade: (created) => void created.createObjectStore("images", { keyPath: "jobId" }),
      // Lets a newer version of the page, in another tab, change the database.
      blocking: (_current, _blocked, event) => event.target instanceof IDBDatabase && event.target.close(),
    });
    return new ImageStore(database);
  }

  all(): Promise<StoredImage[]> {
    return this.#database.getAll("images");
  }

  /** Rejects if there is no room. */
  async add(image: StoredImage): Promise<void> {
    await this.#database.put("images", image);
  }

  clear(): Promise<void> {
    return this.#database.clear("images");
  }
}

/** Whether the browser refuses because the disk or the page's share of it is full. */
export function isFull(error: unknown): boolean {
  return error instanceof DOMException && error.name === "QuotaExceededError";
}

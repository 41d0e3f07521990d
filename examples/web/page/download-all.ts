import { downloadZip } from "client-zip";
import type { Picture } from "./picture.ts";

/** A ZIP of the images, oldest first, with a list of their prompts and settings. PNGs are compressed already, so it only stores them. */
export function zipImages(pictures: readonly Picture[]): Promise<Blob> {
  const files = pictures.flatMap(({ input, requestedAt, state }) => {
    return state.kind === "done" ? [{ input, requestedAt, image: state.image }] : [];
  });
  files.sort((one, other) => one.requestedAt - other.requestedAt);
  const named = files.map(({ input, requestedAt, image }, index) => ({
    name: fileName(input.prompt, index, files.length),
    input,
    image,
    lastModified: new Date(requestedAt),
  }));
  const list = named.map(({ name, input, image, lastModified }) => ({
    file: name,
    ...input,
    seed: image.seed,
    width: image.width,
    height: image.height,
    cost: image.job.cost,
    requestedAt: lastModified.toISOString(),
  }));
  return downloadZip([
    ...named.map(({ name, image, lastModified }) => ({ name, input: image.blob, lastModified })),
    { name: "images.json", input: `${JSON.stringify(list, null, 2)}\n` },
  ]).blob();
}

/** `07 a red apple.png`: the number keeps equal prompts apart. What a file system refuses becomes a space. */
function fileName(prompt: string, index: number, count: number): string {
  const number = String(index + 1).padStart(String(count).length, "0");
  const text = prompt
    .replace(/[\p{Cc}<>:"/\\|?*]+/gu, " ")
    .replace(/\s+/g, " ")
    .trim();
  // By characters, so that none is cut in half.
  return `${number} ${[...text].slice(0, 60).join("").trim()}.png`;
}

/** Saves a file as a click on a download link does. */
export function saveFile(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  // The download has its own reference once it has begun.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

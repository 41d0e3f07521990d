// Draws docs/images/red-apple.png: the stand-in artist's red apple on a checkerboard, for the README.
// `node scripts/build-picture.ts`
import { mkdir, writeFile } from "node:fs/promises";
import { Resvg } from "@resvg/resvg-js";
import { createArtist } from "../src/local/artist/artist.ts";

const side = 512;
const square = 32;
const target = new URL("../docs/images/red-apple.png", import.meta.url);

const draw = createArtist();
const job = {
  id: "picture",
  input: { prompt: "a red apple", seed: 7, width: side, height: side, response: { encoding: "url" } },
};
const output = await draw(job, { signal: new AbortController().signal, progress: () => {}, workerId: "picture" });
if (!("url" in output)) throw new Error(`The artist made no picture: ${JSON.stringify(output)}`);

const board = `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}">
  <pattern id="board" width="${2 * square}" height="${2 * square}" patternUnits="userSpaceOnUse">
    <path d="M0 0h${2 * square}v${2 * square}H0z" fill="#fff"/>
    <path d="M0 0h${square}v${2 * square}h${square}v-${square}H0z" fill="#d5d9de"/>
  </pattern>
  <rect width="${side}" height="${side}" fill="url(#board)"/>
  <image href="${output.url}" width="${side}" height="${side}"/>
</svg>`;
await mkdir(new URL(".", target), { recursive: true });
await writeFile(target, new Resvg(board).render().asPng());

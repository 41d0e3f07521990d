import { describe, expect, test } from "vitest";
import { pictureInOutput } from "../../../../src/local/status-page/image-in-output.ts";
import { makePng } from "../../../helpers/png.ts";

const png = makePng();
const samples = {
  "image/png": png,
  "image/jpeg": Buffer.from([0xff, 0xd8, 0xff, 0xe0, ...Buffer.from("\0\x10JFIF and the rest of it", "latin1")]),
  "image/gif": Buffer.from("GIF89a and the rest of the picture"),
  "image/webp": Buffer.from("RIFF\x10\0\0\0WEBPVP8L and the rest of it", "latin1"),
};

function found(text: string) {
  const picture = pictureInOutput(text);
  return picture && { contentType: picture.contentType, bytes: Buffer.from(picture.bytes()) };
}

const thePng = { contentType: "image/png", bytes: png };

describe("pictureInOutput", () => {
  test.each(Object.entries(samples))("finds base64 of a picture that is %s by its bytes", (contentType, bytes) => {
    expect(found(JSON.stringify({ image: bytes.toString("base64") }))).toEqual({ contentType, bytes });
    expect(found(JSON.stringify(`data:image/x-wrong;base64,${bytes.toString("base64")}`))).toEqual({
      contentType,
      bytes,
    });
  });

  test.each([
    ["the whole output", JSON.stringify(png.toString("base64"))],
    ["an item far inside", JSON.stringify({ a: [{ b: ["text", { c: png.toString("base64") }] }] })],
    ["within other text", JSON.stringify(`Here: ![](data:image/png;base64,${png.toString("base64")}) it is`)],
    ["a data URL with parameters", JSON.stringify(`data:image/png;name=a.png;base64,${png.toString("base64")}`)],
    [
      "JSON text within JSON",
      JSON.stringify(JSON.stringify({ url: `data:image/png;base64,${png.toString("base64")}` })),
    ],
    ["base64 in lines", JSON.stringify(png.toString("base64").replace(/.{20}/g, "$&\n"))],
    ["base64 with escaped slashes", JSON.stringify(png.toString("base64")).replaceAll("/", "\\/")],
    ["beside what only Python calls JSON", `{"score":NaN,"image":"${png.toString("base64")}"}`],
    ["behind strings with escaped quotes", JSON.stringify(['"\\"', "\\", 'x"'.repeat(40), png.toString("base64")])],
    [
      "behind a data URL of something else",
      JSON.stringify([`data:image/png;base64,${"A".repeat(40)}`, png.toString("base64")]),
    ],
  ])("finds it as %s", (_, text) => {
    expect(found(text)).toEqual(thePng);
  });

  test("answers the first of several", () => {
    const text = JSON.stringify([samples["image/gif"].toString("base64"), png.toString("base64")]);
    expect(found(text)?.contentType).toBe("image/gif");
  });

  test.each([
    ["no output", ""],
    ["no strings", "[1,2,null]"],
    ["base64 of other things", JSON.stringify(Buffer.from("x".repeat(100)).toString("base64"))],
    ["SVG, which may hold scripts", JSON.stringify(`data:image/svg+xml;base64,${btoa("<svg>".repeat(10))}`)],
    ["a picture's address", JSON.stringify("https://pictures.example/data/image/png/a-long-name.png")],
    ["text that only begins like a picture", JSON.stringify(`${png.toString("base64")} and so on`)],
    ["a string that never ends", `{"image":"${png.toString("base64")}`],
    ["an escape that is none", `["\\x ${"a".repeat(40)}"]`],
    ["only backslashes", `"${"\\".repeat(1_001)}`],
  ])("finds nothing in %s", (_, text) => {
    expect(found(text)).toBeUndefined();
  });

  test("is not troubled by nesting, however deep", () => {
    const depth = 200_000;
    expect(found(`${"[".repeat(depth)}"${png.toString("base64")}"${"]".repeat(depth)}`)).toEqual(thePng);
  });

  test("takes a picture of many megabytes", () => {
    const large = Buffer.concat([png, Buffer.alloc(15 * 1024 * 1024, 7)]);
    expect(pictureInOutput(JSON.stringify({ image: large.toString("base64") }))?.bytes()).toHaveLength(large.length);
  });

  test("does not search a text beyond all limits", () => {
    expect(pictureInOutput(`"${png.toString("base64")}"${" ".repeat(64 * 1024 * 1024)}`)).toBeUndefined();
  });
});

import { beforeAll, describe, expect, it } from "vitest";
import { type ArtSet, loadArtSet } from "../../../../src/local/artist/art-set.ts";
import { pickSubject } from "../../../../src/local/artist/pick.ts";
import { singulars, words } from "../../../../src/local/artist/prompt-words.ts";

let set: ArtSet;
beforeAll(async () => {
  set = await loadArtSet(new URL("../../../../art/fluent-emoji.json.br", import.meta.url));
});

const pick = (prompt: string) => {
  const { name, tint } = pickSubject(prompt, set);
  return [name, tint?.word];
};

describe("pickSubject", () => {
  it.each([
    ["a red apple, high quality", "red-apple"],
    ["a red apple, high quality, transparent background", "red-apple"],
    ["an automobile", "automobile"],
    ["two cats", "cat"],
    ["puppy", "dog-face"],
    ["a cute kitty", "cat-face"],
    ["riding a bike", "bicycle"],
    ["three mice", "mouse"],
    ["strawberries", "strawberry"],
    ["cookies on a table", "cookie"],
    ["maple leaves", "maple-leaf"],
    ["kitchen knives", "kitchen-knife"],
    ["a pair of sneakers", "running-shoe"],
    ["sunglasses", "sunglasses"],
    ["a bowl of soup", "steaming-bowl"],
    ["a slice of pizza", "pizza"],
    ["T-Rex!", "t-rex"],
    ["a chef's knife", "kitchen-knife"],
    ["a piñata-coloured jalapeño", "hot-pepper"],
    ["(masterpiece:1.2), best quality, a castle <lora:x:0.8>", "castle"],
  ])("finds the picture for %j", (prompt, name) => {
    expect(pick(prompt)[0]).toBe(name);
  });

  it("prefers several words to one", () => {
    expect(pick("a hot dog")[0]).toBe("hot-dog");
    expect(pick("a fire truck")[0]).toBe("fire-engine");
    expect(pick("french fries")[0]).toBe("french-fries");
    expect(pick("an ice cream cone")[0]).toBe("soft-ice-cream");
  });

  it("takes the last of nouns in a row, the first of things in a sentence", () => {
    expect(pick("a chocolate cake")[0]).toBe("birthday-cake");
    expect(pick("a glass bottle with a ship in it")[0]).toBe("bottle-with-popping-cork");
    expect(pick("a cup of coffee with a cat on it")[0]).toBe("hot-beverage");
    expect(pick("a cat sitting on a chair next to a dog")[0]).toBe("cat");
  });

  it("takes a colour word that is also a thing for a colour when a noun follows", () => {
    expect(pick("an orange cat")).toEqual(["cat", "orange"]);
    expect(pick("an orange")).toEqual(["tangerine", undefined]);
    expect(pick("a rose gold ring")).toEqual(["ring", "gold"]);
  });

  it("gives the thing the colour said of it, and of no other", () => {
    expect(pick("a blue car")).toEqual(["automobile", "blue"]);
    expect(pick("a big shiny green dragon")).toEqual(["dragon", "green"]);
    expect(pick("a teapot in purple")).toEqual(["teapot", "purple"]);
    expect(pick("a dog with a red ball")).toEqual(["dog", undefined]);
    expect(pick("a green apple")).toEqual(["green-apple", undefined]);
    expect(pick("a cat on a blue background")).toEqual(["cat", undefined]);
    expect(pick("blue background, a cat")).toEqual(["cat", undefined]);
  });

  it("does not see what the prompt says to leave out, nor how the picture is made", () => {
    expect(pick("no cats, a dog")[0]).toBe("dog");
    expect(pick("a dog without a hat")[0]).toBe("dog");
    expect(pick("die cut sticker, film grain, a frog")[0]).toBe("frog");
    expect(pick("pencil drawing of a boat")[0]).toBe("sailboat");
  });

  it("keeps the colour when no word names a picture", () => {
    expect(pick("a purple quixotry on white background")).toEqual([undefined, "purple"]);
    expect(pick("quixotry")).toEqual([undefined, undefined]);
    expect(pick("constructor toString __proto__")).toEqual([undefined, undefined]);
  });
});

describe("words", () => {
  it("splits a text into lower-case words without accents and apostrophes", () => {
    expect(words("Crème brûlée, the Chef's 2nd")).toEqual(["creme", "brulee", "the", "chefs", "2nd"]);
  });
});

describe("singulars", () => {
  it("offers the word itself first, then what it may be the plural of", () => {
    expect(singulars("glass")).toEqual(["glass"]);
    expect(singulars("cherries")).toContain("cherry");
    expect(singulars("wolves")).toContain("wolf");
    expect(singulars("boxes")).toContain("box");
    expect(singulars("women")).toEqual(["women", "woman"]);
  });
});

/** The words of a text in lower case, with letters and digits only. Apostrophes are dropped: "chef's" is "chefs". */
export function words(text: string): string[] {
  return (
    text
      .toLowerCase()
      .normalize("NFKD")
      .replace(/[\u0300-\u036f'’]/g, "")
      .match(/[\p{L}\p{N}]+/gu) ?? []
  );
}

const irregular: Record<string, string> = {
  men: "man",
  women: "woman",
  children: "child",
  mice: "mouse",
  geese: "goose",
  feet: "foot",
  teeth: "tooth",
  people: "person",
  dice: "die",
  oxen: "ox",
  cacti: "cactus",
  octopi: "octopus",
  fungi: "fungus",
};

/** The word itself, then the words that it may be the plural of, the likeliest first. */
export function singulars(word: string): string[] {
  const found = [word];
  const single = Object.hasOwn(irregular, word) ? irregular[word] : undefined;
  if (single !== undefined) found.push(single);
  if (word.length > 3 && word.endsWith("s") && !word.endsWith("ss")) {
    found.push(word.slice(0, -1));
    if (word.endsWith("ies")) found.push(`${word.slice(0, -3)}y`);
    if (word.endsWith("ves")) found.push(`${word.slice(0, -3)}f`, `${word.slice(0, -3)}fe`);
    if (word.endsWith("es")) found.push(word.slice(0, -2));
  }
  return found;
}

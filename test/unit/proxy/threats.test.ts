import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readPage } from "../../helpers/markdown.ts";

const here = readdirSync(fileURLToPath(new URL(".", import.meta.url)))
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => name.replace(".test.ts", ""));

const rows = readPage("docs/security.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| who "))
  .map((line) => line.split("|").map((cell) => cell.trim()));

describe("the threat table in docs/security.md", () => {
  it.each(rows.map(([, who = "", how = "", tests = ""]) => [who, how, tests]))("%s", (_who, how, tests) => {
    const named = [...tests.matchAll(/`([\w-]+)`/g)].map(([, name = ""]) => name);
    expect(how).not.toBe("");
    expect(named.length).toBeGreaterThan(0);
    expect(here).toEqual(expect.arrayContaining(named));
  });

  it("names every file of attacks", () => {
    const named = rows.map(([, , , tests]) => tests).join();
    expect(rows.length).toBeGreaterThan(15);
    expect(here.filter((name) => name.startsWith("attacks-") && !named.includes(`\`${name}\``))).toEqual([]);
  });
});

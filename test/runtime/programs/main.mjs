// Node, Bun and Deno: the scenarios named in argv[2], with the plan in argv[3].
import process from "node:process";
import { play } from "./scenarios.mjs";

const [, , names, plan] = process.argv;
console.log(JSON.stringify(await play(JSON.parse(names), JSON.parse(plan))));

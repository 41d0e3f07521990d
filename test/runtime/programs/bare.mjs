// Node, looking as bare as a browser: the scenarios named in argv[2], with the plan in argv[3].
import "./stripped.mjs";
import { play } from "./scenarios.mjs";

const [, , names, plan] = process.argv;
console.log(JSON.stringify(await play(JSON.parse(names), JSON.parse(plan))));

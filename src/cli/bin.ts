#!/usr/bin/env node
// The entry of the program. It loads the rest only on a Node that can run it.
import { oldNodeProblem } from "./node-version.ts";

const problem = oldNodeProblem(process.versions.node);
if (problem) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
} else {
  const [{ main }, { processIo }] = await Promise.all([import("./main.ts"), import("./terminal/io.ts")]);
  // Ends the process rather than waiting for open streams: a prompt list on stdin may never end.
  process.exit(await main(process.argv.slice(2), processIo()));
}

#!/usr/bin/env node
// The program's entry. It loads nothing until it knows that this Node can run the rest.
import { oldNodeProblem } from "./node-version.ts";

const problem = oldNodeProblem(process.versions.node);
if (problem) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
} else {
  const [{ main }, { processIo }] = await Promise.all([import("./main.ts"), import("./terminal/io.ts")]);
  // By name, not by waiting for what is open: a prompt list on stdin may never end.
  process.exit(await main(process.argv.slice(2), processIo()));
}

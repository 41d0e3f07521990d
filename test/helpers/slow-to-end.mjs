// No worker at all: a program that says "up", and when told to end takes its time and says "in good order".
import { setTimeout as sleep } from "node:timers/promises";

const life = setInterval(() => {}, 60_000);
process.on("SIGTERM", async () => {
  process.stdout.write("told to end\n");
  await sleep(200);
  process.stdout.write("in good order\n");
  clearInterval(life);
});
process.stdout.write("up\n");

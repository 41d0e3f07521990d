import { createInterface } from "node:readline";

type Answers = Readonly<Record<string, () => unknown>>;

/** CPU time this process has taken, in milliseconds. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** The other end of a `Child`: prints the base URL, then answers the lines of the input; resolves at its end. */
export async function answerQuestions(baseUrl: string, answers: Answers): Promise<void> {
  process.stdout.write(`${baseUrl}\n`);
  for await (const question of createInterface(process.stdin)) {
    const answer = answers[question];
    if (answer === undefined) throw new Error(`No answer to ${question}.`);
    process.stdout.write(`${JSON.stringify(await answer())}\n`);
  }
}

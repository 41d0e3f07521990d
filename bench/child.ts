import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A process that prints its base URL, then answers each line it is sent by a line of JSON, and ends with its input. */
export class Child {
  readonly baseUrl: string;
  readonly #ask: (line: string) => Promise<string>;
  readonly #end: () => Promise<void>;

  private constructor(baseUrl: string, ask: (line: string) => Promise<string>, end: () => Promise<void>) {
    this.baseUrl = baseUrl;
    this.#ask = ask;
    this.#end = end;
  }

  /** Starts a file of this folder. */
  static async start(file: string, settings: object = {}): Promise<Child> {
    const path = new URL(file, import.meta.url).pathname;
    const child = spawn(process.execPath, ["--expose-gc", path, JSON.stringify(settings)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const ended = once(child, "exit");
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const read = async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${file} ended with ${(await ended).find((why) => why !== null)}.`);
      return String(value);
    };
    const ask = (line: string) => {
      child.stdin.write(`${line}\n`);
      return read();
    };
    const end = async () => {
      child.stdin.end();
      await ended;
    };
    return new Child(await read(), ask, end);
  }

  async ask<Answer>(question: string): Promise<Answer> {
    const answer: Answer = JSON.parse(await this.#ask(question));
    return answer;
  }

  end(): Promise<void> {
    return this.#end();
  }
}

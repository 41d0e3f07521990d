// A local endpoint whose pictures tell whose they are, in a process of its own, a Child.
import { crc32 } from "node:zlib";
import { createLocalEndpoint } from "layerdiffuse/local";
import { answerQuestions } from "./answer-questions.ts";
import { pause } from "./pause.ts";
import { bigPng } from "./png.ts";

export interface EndpointSettings {
  readonly workers: number;
  readonly pngBytes: number;
  /** Milliseconds. */
  readonly jobTime: number;
  /** Milliseconds before a worker takes its first job. */
  readonly coldStart: number;
}

export interface Drawn {
  readonly jobs: number;
  /** Prompts that were drawn more than once. */
  readonly twice: number;
}

const { workers, pngBytes, jobTime, coldStart }: EndpointSettings = JSON.parse(process.argv[2] ?? "");
/** Milliseconds since the epoch, finer than Date: the same in every process of one machine. */
const now = () => performance.timeOrigin + performance.now();
const png = bigPng(pngBytes);
const end = png.subarray(-12);
const drawn = new Map<string, number>();

/** The picture with a text in it. PNG, 11.3.3.2. */
function pictureOf(prompt: string): Buffer {
  const body = Buffer.from(`tEXtprompt\0${prompt}`, "latin1");
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(body.length - 4, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([png.subarray(0, -12), frame.subarray(0, 4), body, frame.subarray(4), end]);
}

const endpoint = createLocalEndpoint({
  rates: false,
  maxWorkers: workers,
  coldStart,
  worker: async ({ input }) => {
    const prompt = String(input["prompt"]);
    drawn.set(prompt, (drawn.get(prompt) ?? 0) + 1);
    await pause(jobTime);
    const image_base64 = pictureOf(prompt).toString("base64");
    return { status: "success", filename: "bench.png", image_base64, info: { endedAt: now() } };
  },
});

await answerQuestions(await endpoint.listen(), {
  drawn: (): Drawn => ({ jobs: drawn.size, twice: [...drawn.values()].filter((times) => times > 1).length }),
});
await endpoint.close();

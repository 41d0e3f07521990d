// Many browsers in one process: `node browsers.ts <settings as JSON>`. Prints a line of JSON for each call as it ends.
import { setTimeout } from "node:timers/promises";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";
import { createRandom } from "../../../bench/random.ts";
import { now, promptIn } from "../images.ts";

export interface BrowserSettings {
  proxyUrl: string;
  /** The number of the first browser, and of those after the last. */
  from: number;
  to: number;
  /** So many browsers in a row are of one caller. */
  tabs: number;
  /** Of each browser, all at once. */
  images: number;
  /** Milliseconds from one browser's first request to the next browser's. */
  apart: number;
  /** The share of calls whose tab is closed in the middle, from 0 to 1. */
  closing: number;
}

/** How a call ended. */
export interface Call {
  prompt: string;
  outcome: "image" | "closed" | "error";
  /** Milliseconds from the job's end on its worker to the checked image here. */
  lag?: number;
  /** Of an error: what the library says of it. An error that is not the library's has no code. */
  code?: string;
  submitted?: string;
  message?: string;
  /** What is in the image, where that is not the prompt. */
  wrong?: string;
}

const settings: BrowserSettings = JSON.parse(process.argv[2] ?? "");
const random = createRandom(settings.from + 1);

async function call(browser: number, image: number): Promise<Call> {
  const caller = `caller-${Math.floor(browser / settings.tabs)}`;
  const prompt = `${caller} image ${browser}.${image}`;
  const client = new LayerDiffuse({ proxyUrl: settings.proxyUrl, headers: { "x-user": caller } });
  const closing = random() < settings.closing ? new AbortController() : undefined;
  const phaseOfEnd = random() < 0.5 ? "queued" : "running";
  const cancelOnAbort = random() < 0.5;
  try {
    const { bytes, info } = await client.generate(prompt, {
      // As a page shows it: that asks for more than waiting does.
      onProgress: ({ phase }) => {
        if (phase === phaseOfEnd) closing?.abort();
      },
      ...(closing && { signal: closing.signal, cancelOnAbort }),
    });
    const found = promptIn(bytes);
    const lag = now() - Number(Object(info)["endedAt"]);
    return { prompt, outcome: "image", lag, ...(found !== prompt && { wrong: found ?? "nothing" }) };
  } catch (error) {
    if (closing?.signal.aborted && error === closing.signal.reason) return { prompt, outcome: "closed" };
    if (!isLayerDiffuseError(error)) return { prompt, outcome: "error", message: String(error) };
    const { code, submitted, message } = error;
    return { prompt, outcome: "error", code, message, ...(submitted && { submitted }) };
  }
}

const calls: Promise<void>[] = [];
for (let browser = settings.from; browser < settings.to; browser++) {
  for (let image = 1; image <= settings.images; image++) {
    calls.push(call(browser, image).then((ended) => void process.stdout.write(`${JSON.stringify(ended)}\n`)));
  }
  await setTimeout(settings.apart);
}
await Promise.all(calls);

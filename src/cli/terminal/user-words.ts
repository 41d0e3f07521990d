/** The client names its options and the worker its fields. People typed flags and set variables, and read of those. */
import { InvalidInputError, isLayerDiffuseError, JobError, type Submitted } from "../../errors/index.ts";
import type { wireNames } from "../../protocol/generate-input.ts";

type WireNames = typeof wireNames;

/** Where the values of this run came from. */
export interface Places {
  endpoint: "--endpoint" | "RUNPOD_ENDPOINT_ID";
  /** Nothing where the service's own address is used. */
  baseUrl: "--base-url" | "RUNPOD_BASE_URL" | undefined;
  /** `flags` where the input came from flags alone; a list of prompts has the client's names for them. */
  input: "flags" | "fields";
  /** Whether the service is on this computer, where no proxy is asked. */
  isLocal: boolean;
}

/** Until a command says otherwise. */
export const usualPlaces: Places = {
  endpoint: "RUNPOD_ENDPOINT_ID",
  baseUrl: "RUNPOD_BASE_URL",
  input: "fields",
  isLocal: false,
};

interface InputName<Wire> {
  /** The worker's name. Repeated here, because the schemas beside it cost each start of the program 10 ms. */
  wire: Wire;
  flag: string;
}

/** The names of the input's fields. */
const inputNames: { readonly [Name in Exclude<keyof WireNames, "prompt" | "loras">]: InputName<WireNames[Name]> } = {
  negativePrompt: { wire: "negative_prompt", flag: "--negative" },
  seed: { wire: "seed", flag: "--seed" },
  steps: { wire: "steps", flag: "--steps" },
  cfgScale: { wire: "cfg_scale", flag: "--cfg-scale" },
  width: { wire: "width", flag: "--width" },
  height: { wire: "height", flag: "--height" },
  sampler: { wire: "sampler_name", flag: "--sampler" },
  scheduler: { wire: "scheduler", flag: "--scheduler" },
  preset: { wire: "generator_type", flag: "--preset" },
};

/** A message of the client in the words of this program. */
export function inUserWords(message: string, error: unknown, places: Places): string {
  if (error instanceof InvalidInputError && places.input === "flags") return inputMessage(error);
  const failure = error instanceof JobError ? error.failure : undefined;
  const said = failure?.message.replace(/\.$/, "");
  const own = (text: string) => withoutSecondTry(withOptions(text, places), error);
  if (!said) return own(message);
  // A worker may use the same words for options of its own. Only the field that it names as one is the user's.
  return message
    .split(said)
    .map(own)
    .join(withField(said, failure?.field, places));
}

function inputMessage({ issues }: InvalidInputError): string {
  const list = issues.map(({ path: [first, ...rest], message }) => {
    const flag = Object.entries(inputNames).find(([field]) => field === first)?.[1].flag;
    const place = [flag ?? first, ...rest].filter((part) => part !== undefined).join(".");
    return place === "" ? message : `${place}: ${message}`;
  });
  return `Invalid input. ${list.join("; ")}. Nothing was sent.`;
}

function withOptions(message: string, { endpoint, baseUrl }: Places): string {
  const words: readonly [RegExp, string][] = [
    [/\bqueueTimeout\b/g, "--queue-timeout"],
    [/\bexecutionTimeout\b/g, "--timeout"],
    ...(baseUrl === undefined ? [[/ and baseUrl\b/g, ""] as [RegExp, string]] : []),
    [/\bbaseUrl\b/g, baseUrl ?? "RUNPOD_BASE_URL"],
    [/\bendpointId\b/g, endpoint],
    [/\bThe API key (?=is missing or wrong|has no access|is empty or holds)/g, "The API key in RUNPOD_API_KEY "],
    // What this program has no options for.
    [/; set retrySubmissions if a second job does no harm/, ""],
    [/ or proxyUrl\b| or concurrency\b|, or raise requestTimeout\b/g, ""],
  ];
  return words.reduce((text, [theirs, ours]) => text.replace(theirs, ours), message);
}

/** Generating again would pay for a second image where a job exists. What can be done about it is said elsewhere. */
function withoutSecondTry(message: string, error: unknown): string {
  if (!isLayerDiffuseError(error)) return message;
  const mayCost: readonly (Submitted | undefined)[] = ["unknown", "yes"];
  if (error.jobId === undefined && !mayCost.includes(error.submitted)) return message;
  return message.replace(/,? then try again\b| Try again(?: later)?\./g, "");
}

/** The worker's message with the name that the user knows for its field. */
function withField(message: string, field: string | undefined, { input }: Places): string {
  const known = Object.entries(inputNames).find(([, { wire }]) => wire === field);
  if (field === undefined || known === undefined) return message;
  const name = input === "flags" ? known[1].flag : known[0];
  return message.startsWith(`${field} `) ? name + message.slice(field.length) : `${name}: ${message}`;
}

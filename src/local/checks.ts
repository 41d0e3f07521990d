/** Checks of what a caller hands over, each naming the option, what it may be, and what it was. */

export type Check = (value: unknown, name: string) => void;

/** A number of at least `lowest`; `Infinity` is allowed and means never. */
export function duration(lowest = 0): Check {
  return (value, name) => {
    if (typeof value !== "number") throw new TypeError(`${name} must be a number of milliseconds, got ${shown(value)}`);
    if (!(value >= lowest)) throw new RangeError(`${name} must be at least ${lowest} ms, got ${value}`);
  };
}

export function count(lowest = 0): Check {
  return (value, name) => {
    if (typeof value !== "number") throw new TypeError(`${name} must be a number, got ${shown(value)}`);
    if ((!Number.isInteger(value) && value !== Number.POSITIVE_INFINITY) || value < lowest) {
      throw new RangeError(`${name} must be a whole number of at least ${lowest}, got ${value}`);
    }
  };
}

export const bool: Check = (value, name) => {
  if (typeof value !== "boolean") throw new TypeError(`${name} must be true or false, got ${shown(value)}`);
};

export const func: Check = (value, name) => {
  if (typeof value !== "function") throw new TypeError(`${name} must be a function, got ${shown(value)}`);
};

export function text(pattern: RegExp, meaning: string): Check {
  return (value, name) => {
    if (typeof value !== "string") throw new TypeError(`${name} must be ${meaning}, got ${shown(value)}`);
    if (!pattern.test(value)) throw new RangeError(`${name} must be ${meaning}, got ${shown(value)}`);
  };
}

/** One of a few literals. */
export function oneOf(values: readonly unknown[]): Check {
  return (value, name) => {
    if (values.includes(value)) return;
    throw new RangeError(`${name} must be one of ${values.map(shown).join(", ")}, got ${shown(value)}`);
  };
}

/** Either literally one of `values`, or what `check` lets through. */
export function literalOr(values: readonly unknown[], check: Check): Check {
  return (value, name) => {
    if (!values.includes(value)) check(value, name);
  };
}

/** An object with the given keys alone; those left out or `undefined` are not checked. */
export function fields(checks: Readonly<Record<string, Check>>): Check {
  return (value, name) => {
    if (!isRecord(value)) throw new TypeError(`${name} must be an object, got ${shown(value)}`);
    for (const [key, item] of Object.entries(value)) {
      const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
      if (check === undefined) {
        const near = nearest(key, Object.keys(checks));
        throw new TypeError(`${name} has no "${key}"; did you mean "${near}"?`);
      }
      if (item !== undefined) check(item, `${name}.${key}`);
    }
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The candidate with the smallest edit distance. */
export function nearest(word: string, candidates: readonly string[]): string {
  let best = "";
  let smallest = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < smallest) [best, smallest] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(one: string, other: string): number {
  let above = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (one[row - 1] === other[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    above = current;
  }
  return above[other.length] ?? 0;
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

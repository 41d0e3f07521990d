/** Runs `run` with some globals replaced, or gone where the value is `undefined`; synchronously, so nothing else notices. */
export function withGlobals<T>(globals: Record<string, unknown>, run: () => T): T {
  const before = Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const);
  try {
    for (const [name, value] of Object.entries(globals)) {
      if (value === undefined) Reflect.deleteProperty(globalThis, name);
      else Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    return run();
  } finally {
    for (const [name, descriptor] of before) {
      Reflect.deleteProperty(globalThis, name);
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    }
  }
}

const nodeBuffer = globalThis.Buffer;

/** `Uint8Array.fromBase64` as ECMAScript 2026 has it, with its defaults: white space skipped, padding optional. */
function fromBase64(text: string): Uint8Array {
  const bare = text.replace(/[\t\n\f\r ]/g, "");
  const padded = /^[A-Za-z0-9+/]*(={0,2})$/.exec(bare);
  const data = bare.replace(/=+$/, "");
  const isComplete = padded?.[1] === "" ? data.length % 4 !== 1 : bare.length % 4 === 0 && data.length % 4 !== 1;
  if (!padded || !isComplete) throw new SyntaxError("Invalid base64.");
  return new Uint8Array(nodeBuffer.from(data, "base64"));
}

/** Every way a runtime may decode base64: Node and Bun; newest browsers; older browsers. */
export const base64Runtimes: Record<string, <T>(run: () => T) => T> = {
  Buffer: (run) => run(),
  "Uint8Array.fromBase64": (run) => {
    const before = Object.getOwnPropertyDescriptor(Uint8Array, "fromBase64");
    Object.defineProperty(Uint8Array, "fromBase64", { value: fromBase64, configurable: true });
    try {
      return withGlobals({ Buffer: undefined }, run);
    } finally {
      Reflect.deleteProperty(Uint8Array, "fromBase64");
      if (before) Object.defineProperty(Uint8Array, "fromBase64", before);
    }
  },
  atob: (run) => {
    const before = Object.getOwnPropertyDescriptor(Uint8Array, "fromBase64");
    Reflect.deleteProperty(Uint8Array, "fromBase64");
    try {
      return withGlobals({ Buffer: undefined }, run);
    } finally {
      if (before) Object.defineProperty(Uint8Array, "fromBase64", before);
    }
  },
};

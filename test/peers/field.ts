/** A field of what a worker answered, or `undefined`. */
export function field(value: unknown, ...names: readonly string[]): unknown {
  let found = value;
  for (const name of names) {
    found =
      typeof found === "object" && found !== null ? Object.getOwnPropertyDescriptor(found, name)?.value : undefined;
  }
  return found;
}

export function numberField(value: unknown, ...names: readonly string[]): number {
  const found = field(value, ...names);
  if (typeof found !== "number") throw new Error(`There is no number ${names.join(".")} in ${JSON.stringify(value)}`);
  return found;
}

export function numbersField(value: unknown, ...names: readonly string[]): number[] {
  const found = field(value, ...names);
  return Array.isArray(found) ? found.map(Number) : [];
}

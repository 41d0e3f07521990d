/** What a promise rejects with; fails when it resolves. */
export function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`It resolved, with ${JSON.stringify(value)}.`);
    },
    (error: unknown) => error,
  );
}

/** What a function throws; fails when it returns. */
export function thrownBy(run: () => unknown): unknown {
  let value: unknown;
  try {
    value = run();
  } catch (error) {
    return error;
  }
  throw new Error(`It returned ${JSON.stringify(value)}.`);
}

/** `error` as the class it must be of. */
export function expectClass<Class extends abstract new (...values: never[]) => unknown>(
  error: unknown,
  expected: Class,
): InstanceType<Class> {
  if (error instanceof expected) return error as InstanceType<Class>;
  throw new Error(`Expected ${expected.name}, got ${error instanceof Error ? error.stack : String(error)}`);
}

/** How one of many ended. */
export type Settled<Input, Result> =
  | { index: number; input: Input; result: Result; error?: undefined }
  | { index: number; input: Input; error: unknown; result?: undefined };

/**
 * Runs `task` for each input, at most `concurrency` at once, and yields each as it ends. An input is
 * taken only when its task can start, and none starts while a result waits to be fetched beyond that number.
 * Leaving the loop aborts what still runs.
 */
export async function* runMany<Input, Result>(
  inputs: Iterable<Input> | AsyncIterable<Input>,
  concurrency: number,
  signal: AbortSignal | undefined,
  task: (input: Input, signal: AbortSignal) => Promise<Result>,
): AsyncGenerator<Settled<Input, Result>, void, undefined> {
  const left = new AbortController();
  const stop = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
  const source = Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]();
  const running = new Map<number, Promise<Settled<Input, Result>>>();
  let nextInput: Promise<IteratorResult<Input>> | undefined;
  let isExhausted = false;
  let count = 0;

  const start = (input: Input) => {
    const index = count++;
    const settled = task(input, stop).then(
      (result) => ({ index, input, result }),
      (error: unknown) => ({ index, input, error }),
    );
    running.set(index, settled);
  };

  const aborted = new Promise<never>((_, reject) => {
    stop.addEventListener("abort", () => reject(stop.reason), { once: true });
  });
  // Raced against below; alone it is not unhandled.
  aborted.catch(() => {});

  try {
    for (;;) {
      stop.throwIfAborted();
      if (!isExhausted && running.size < concurrency) nextInput ??= Promise.resolve(source.next());
      if (!nextInput && running.size === 0) return;
      const arrived = await Promise.race([aborted, ...running.values(), ...(nextInput ? [nextInput] : [])]);
      if ("index" in arrived) {
        running.delete(arrived.index);
        yield arrived;
        continue;
      }
      nextInput = undefined;
      if (arrived.done) isExhausted = true;
      else start(arrived.value);
    }
  } finally {
    left.abort(new DOMException("The loop over the results was left.", "AbortError"));
    // A source that is not used up may hold something open; its own trouble in closing is not ours.
    if (!isExhausted) Promise.resolve(source.return?.()).catch(() => {});
  }
}

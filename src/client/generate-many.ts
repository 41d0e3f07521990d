/** How one of many ended. */
export type Settled<Input, Result> =
  | { index: number; input: Input; result: Result; error?: undefined }
  | { index: number; input: Input; error: unknown; result?: undefined };

/**
 * Runs `task` for each input, at most `concurrency` at once, and yields each as it ends. An input is
 * taken only when its task can start; what has ended and was not fetched yet counts as running.
 * Leaving the loop aborts what still runs. An abort first yields what has ended, then throws the reason;
 * an error of `inputs` is thrown when all that was started has ended and been yielded.
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
  const ended: Settled<Input, Result>[] = [];
  let running = 0;
  let taken = 0;
  let isTaking = false;
  let isExhausted = false;
  let sourceFailure: { error: unknown } | undefined;
  // Renewed at each turn: a promise that lived as long as the loop would keep every result alive with it.
  let wake = () => {};

  const start = async (input: Input) => {
    const index = taken++;
    running++;
    try {
      ended.push({ index, input, result: await task(input, stop) });
    } catch (error) {
      // What an abort ends is not an ending of its own.
      if (!stop.aborted) ended.push({ index, input, error });
    }
    running--;
    wake();
  };

  const take = async () => {
    isTaking = true;
    try {
      const next = await source.next();
      if (next.done) isExhausted = true;
      else if (!stop.aborted) void start(next.value);
    } catch (error) {
      isExhausted = true;
      sourceFailure = { error };
    }
    isTaking = false;
    wake();
  };

  const onAbort = () => wake();
  stop.addEventListener("abort", onAbort);
  try {
    for (;;) {
      for (let next = ended.shift(); next; next = ended.shift()) yield next;
      stop.throwIfAborted();
      if (!isTaking && !isExhausted && running < concurrency) void take();
      if (running === 0 && !isTaking && ended.length === 0) {
        if (sourceFailure) throw sourceFailure.error;
        return;
      }
      if (ended.length === 0 && !stop.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    stop.removeEventListener("abort", onAbort);
    left.abort(new DOMException("The loop over the results was left.", "AbortError"));
    // A source that is not used up may hold something open; its own trouble in closing is not ours.
    if (!isExhausted) (async () => source.return?.())().catch(() => {});
  }
}

/**
 * Runs a task for each item, at most `concurrency` at once, and yields what each gives as it ends. An item is
 * taken only when its task can start; what has ended and was not fetched yet counts as running.
 * Leaving the loop aborts what still runs. An abort first yields what has ended, then throws the reason;
 * an error of `items` is thrown when all that was started has ended and been yielded.
 *
 * @param run rejects when its signal has aborted, and for nothing else: how an item ended is its result
 */
export async function* runMany<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>,
  concurrency: number,
  signal: AbortSignal | undefined,
  run: (item: Item, index: number, signal: AbortSignal) => Promise<Result>,
): AsyncGenerator<Result, void, undefined> {
  const left = new AbortController();
  const stop = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
  const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const ended: { result: Result }[] = [];
  let running = 0;
  let taken = 0;
  let isTaking = false;
  let isExhausted = false;
  let failure: { error: unknown } | undefined;
  // Renewed at each turn: a promise that lived as long as the loop would keep every result alive with it.
  let wake = () => {};

  const start = async (item: Item) => {
    running++;
    try {
      ended.push({ result: await run(item, taken++, stop) });
    } catch (error) {
      // What an abort ends is not an ending of its own.
      if (!stop.aborted) failure = { error };
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
      failure = { error };
    }
    isTaking = false;
    wake();
  };

  const onAbort = () => wake();
  stop.addEventListener("abort", onAbort);
  try {
    for (;;) {
      for (let next = ended.shift(); next; next = ended.shift()) yield next.result;
      stop.throwIfAborted();
      if (!isTaking && !isExhausted && !failure && running < concurrency) void take();
      if (running === 0 && !isTaking && ended.length === 0) {
        if (failure) throw failure.error;
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

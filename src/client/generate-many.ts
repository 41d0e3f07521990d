/**
 * Runs a task for each item, at most `concurrency` at once, and yields each result when its task ends. An item is
 * taken only when its task can start. A result that nobody has fetched yet still counts as running.
 * Leaving the loop aborts the tasks that still run. After an abort, the loop yields the results it has, then throws the
 * reason. If `items` throws, the loop yields everything that was started, then throws that error.
 *
 * @param run must reject only when its signal has aborted; a failed item is a result too
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
  // A new promise for each turn: one that lived as long as the loop would keep every result in memory.
  let wake = () => {};

  const start = async (item: Item) => {
    running++;
    try {
      ended.push({ result: await run(item, taken++, stop) });
    } catch (error) {
      // After an abort, the rejection says nothing new.
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
    // An unfinished source may hold resources. If closing it fails, that doesn't matter to the caller.
    if (!isExhausted) (async () => source.return?.())().catch(() => {});
  }
}

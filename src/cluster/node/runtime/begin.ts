/**
 * The same pieces, of which the first is asked for at once and not when somebody reads: what a log shows "from now on" begins now,
 * however long the reader takes to come.
 */
export function begin<T>(pieces: AsyncIterable<T>): AsyncIterable<T> {
  const source = pieces[Symbol.asyncIterator]();
  const first = source.next();
  first.catch(() => undefined);
  return rest(source, first);
}

async function* rest<T>(source: AsyncIterator<T>, first: Promise<IteratorResult<T>>): AsyncGenerator<T> {
  try {
    for (let result = await first; result.done !== true; result = await source.next()) yield result.value;
  } finally {
    await source.return?.();
  }
}

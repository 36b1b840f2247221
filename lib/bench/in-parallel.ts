/**
 * Does the work for every item, `jobs` at a time, in the order of the items. The first that throws stops the others by their signal; its
 * error is thrown when all have ended.
 */
export async function inParallel<T>(
  items: Iterable<T>,
  { jobs, signal }: { jobs: number; signal?: AbortSignal | undefined },
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const shared = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = shared.next(); !next.done && !failed.signal.aborted; next = shared.next()) {
      try {
        await work(next.value, either);
      } catch (error) {
        if (!failed.signal.aborted) failed.abort(error);
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  if (failed.signal.aborted) throw failed.signal.reason;
}

/**
 * Answers what `load` answered the last time, for `ms` milliseconds; callers that come meanwhile wait for one and the same
 * `load`. A rejection is kept as long: what fails must not be asked for more often than what works.
 */
export function keptFor<T>(ms: number, load: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | undefined;
  let keptUntil = Number.POSITIVE_INFINITY;
  return () => {
    // Not the clock of the wall, which may be set back.
    if (kept && performance.now() < keptUntil) return kept;
    keptUntil = Number.POSITIVE_INFINITY;
    kept = load().finally(() => {
      keptUntil = performance.now() + ms;
    });
    return kept;
  };
}

/** What `work` answers within `ms` milliseconds; rejects then, though the work goes on. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}

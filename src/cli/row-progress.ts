import type { OnRows } from '../ops/load.ts';
import { createProgress, type Progress } from './progress.ts';

/** A line about rows that are copied; how many there are is known, about, once it begins. */
export async function withRowProgress<T>(label: string, work: (onRows: OnRows) => Promise<T>): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await work((rows, estimated) => {
      progress ??= createProgress(`${label}, rows`, estimated > 0 ? { total: estimated } : {});
      progress.update(rows);
    });
  } finally {
    progress?.done();
  }
}

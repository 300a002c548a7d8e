import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Database } from '../db/database.ts';
import { keepLease, takeLease } from '../db/lease.ts';
import type { Background } from '../lib/background.ts';
import { type Swept, sweep } from './sweep.ts';

type Dependencies = { db: Database; background: Background; log: Pick<Logger, 'debug'> };

/** Every process asks this often whether a sweep is due. */
const askEveryMs = 20_000;
/** One is due this long after the last one began, whoever made it. */
const everySeconds = 60;
/** While one is under way nobody else begins; this long after its process died somebody does. */
const leaseSeconds = 30;
const prolongEveryMs = 5_000;

/** Sweeps once a minute, in turn with all other processes on the database: of all of them one at a time. */
export function startSweep({ db, background, log }: Dependencies): void {
  const holder = randomUUID();
  background.repeat('sweeping', askEveryMs, async () => {
    const swept = await sweepInTurn(db, holder, background.closing);
    const deleted = swept?.reduce((sum, one) => sum + one.deleted, 0) ?? 0;
    if (deleted > 0) log.debug({ deleted }, 'swept');
  });
}

/** Sweeps when it is due and nobody else does; undefined otherwise. */
export async function sweepInTurn(db: Database, holder: string, signal?: AbortSignal): Promise<Swept | undefined> {
  if (!(await takeLease(db, 'sweep', holder, leaseSeconds))) return undefined;
  const startedAt = performance.now();
  let prolongedAt = startedAt;
  const mayGoOn = async () => {
    if (performance.now() - prolongedAt < prolongEveryMs) return true;
    prolongedAt = performance.now();
    return keepLease(db, 'sweep', holder, leaseSeconds);
  };
  try {
    return await sweep(db, { mayGoOn, ...(signal && { signal }) });
  } finally {
    const left = signal?.aborted ? 0 : everySeconds - (performance.now() - startedAt) / 1000;
    await keepLease(db, 'sweep', holder, Math.max(left, 0));
  }
}

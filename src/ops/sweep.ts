/**
 * The sweep: deletes what is over, as retention.ts says. Each list of rows has its turn, a batch at a time, and after each
 * batch the sweep rests, so that it stays a small share of what the database does. Any number may sweep at once and be
 * killed at any point: every batch is whole, and rows that one has locked the others leave alone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { countExpired, oldestExpired } from '../db/expired.ts';
import { type Retention, retentions } from './retention.ts';

export type SweepOptions = {
  /** The time that rows are held against: by itself the database's or this machine's, whichever is earlier. */
  now?: Date;
  /** Ends the sweep after the batch under way. */
  signal?: AbortSignal;
  /** Asked before each batch: whether to go on. */
  mayGoOn?: () => Promise<boolean>;
  onBatch?: (deleted: number) => void;
};

export type Swept = { retention: Retention; deleted: number }[];

/** After a batch the sweep rests so many times as long as that took, … */
const restFactor = 2;
/** … but shorter while it is this far behind: bounded tables matter more than a quiet database. */
const behindMs = 10 * 60 * 1000;
const behindRestFactor = 0.5;
const longestRestMs = 2_000;

/**
 * Deletes all that is over, and answers how many rows of each kind that was. When one kind cannot be deleted the others
 * still are, and the first error is thrown at the end.
 */
export async function sweep(
  db: Database,
  { now, signal, mayGoOn = async () => true, onBatch }: SweepOptions = {},
): Promise<Swept> {
  const heldAgainst = now ?? (await earlierClock(db));
  const works = retentions.map((retention) => ({ retention, deleted: 0, from: undefined as string | undefined }));
  const errors: unknown[] = [];
  let unfinished = works;
  while (unfinished.length > 0) {
    for (const work of unfinished) {
      if (signal?.aborted || !(await mayGoOn())) return works;
      const startedAt = performance.now();
      const { retention } = work;
      try {
        const batch = { before: overBefore(retention, heldAgainst), limit: retention.batchSize, from: work.from };
        const { deleted, upTo } = await retention.deleteBatch(db, batch);
        work.deleted += deleted;
        work.from = upTo;
        if (deleted < retention.batchSize) unfinished = unfinished.filter((one) => one !== work);
        if (deleted === 0) continue;
        onBatch?.(deleted);
        const isBehind = upTo !== undefined && batch.before.getTime() - Date.parse(upTo) > behindMs;
        await rest((performance.now() - startedAt) * (isBehind ? behindRestFactor : restFactor), signal);
      } catch (error) {
        errors.push(error);
        unfinished = unfinished.filter((one) => one !== work);
      }
    }
  }
  if (errors.length > 0) throw errors[0];
  return works;
}

/** A machine whose clock is wrong fools itself; it must not delete what works everywhere else. */
async function earlierClock(db: Database): Promise<Date> {
  const { rows } = await db.execute<{ now: number }>(sql`select extract(epoch from clock_timestamp())::float8 as now`);
  return new Date(Math.min(Date.now(), (rows[0]?.now ?? 0) * 1000));
}

async function rest(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await delay(Math.min(ms, longestRestMs), undefined, signal && { signal }).catch(() => {});
}

function overBefore({ keptSeconds }: Retention, now: Date): Date {
  return new Date(now.getTime() - keptSeconds * 1000);
}

/** How many rows a sweep would delete now, of each kind. Reads as many entries of an index. */
export async function countSweepable(
  db: Database,
  now = new Date(),
): Promise<{ retention: Retention; rows: number }[]> {
  const counts = [];
  for (const retention of retentions) {
    counts.push({ retention, rows: await countExpired(db, retention, overBefore(retention, now)) });
  }
  return counts;
}

/**
 * Seconds that the oldest row which a sweep should have deleted has been waiting; 0 when there is none. A minute or two
 * is as it should be. One statement that looks at the ends of indexes.
 */
export async function sweepLag(db: Database, now = new Date()): Promise<number> {
  const timed = retentions.filter(({ overSinceUnknown }) => !overSinceUnknown);
  const wanted = timed.map((retention) => ({ expiring: retention, before: overBefore(retention, now) }));
  const oldest = await oldestExpired(db, wanted);
  const lags = wanted.map(({ before }, index) => before.getTime() - (oldest[index] ?? before).getTime());
  return Math.max(...lags, 0) / 1000;
}

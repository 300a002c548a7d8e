/**
 * Rows of tries in PostgreSQL, shared by every instance. One conditional statement counts, and starts a pause when a
 * limit is reached; while it lasts the statement changes nothing. Keys and subjects are hashed: the table tells no address.
 */
import { and, eq, gt, inArray, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import type { Expiring } from '../db/expired.ts';
import { throttles } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';

export type Limit = {
  /** So many tries in a row are judged; the last of them starts a pause of `pauseSeconds`. */
  most: number;
  /** So many between one pause and the next, which is twice as long, up to `longestPauseSeconds`. */
  thenMost: number;
  pauseSeconds: number;
  longestPauseSeconds: number;
  /** When a row is forgotten: so long after its latest try or, if `fixed`, after its first. */
  memorySeconds: number;
  fixed?: boolean;
};

/** `subject` is whose tries they are, for an operator to find; absent when they are nobody's in particular. */
export type Counter = { kind: string; key: string; subject?: string | undefined; limit: Limit };

export type Counted = { outcome: 'counted'; startedPause: boolean } | { outcome: 'paused'; retryAfterSeconds: number };

/** Counts one more try. The one that reaches the limit still counts; during the pause none does, nor prolongs it. */
export async function countTry(db: Database, { kind, key, subject, limit }: Counter, now: Date): Promise<Counted> {
  const at = sql`${now.toISOString()}::timestamptz`;
  const memoryEndsAt = new Date(now.getTime() + limit.memorySeconds * 1000);
  const over = sql`${throttles.windowEndsAt} <= ${at}`;
  const hits = sql`(case when ${over} then 1 else ${throttles.hits} + 1 end)`;
  const beyond = sql`(${hits} - ${limit.most})`;
  const pause = sql`least(${limit.pauseSeconds} * power(2, least(${beyond} / ${limit.thenMost}, 16)), ${limit.longestPauseSeconds})`;
  const [row] = await db
    .insert(throttles)
    .values({ key: sha256(key), kind, subject: subject && sha256(subject), hits: 1, windowEndsAt: memoryEndsAt })
    .onConflictDoUpdate({
      target: throttles.key,
      set: {
        hits,
        windowEndsAt: limit.fixed
          ? sql`case when ${over} then excluded.window_ends_at else ${throttles.windowEndsAt} end`
          : sql`excluded.window_ends_at`,
        pausedUntil: sql`case when ${beyond} >= 0 and ${beyond} % ${limit.thenMost} = 0
          then ${at} + ${pause} * interval '1 second' end`,
      },
      setWhere: sql`${throttles.pausedUntil} is null or ${throttles.pausedUntil} <= ${at}`,
    })
    .returning({ pausedUntil: throttles.pausedUntil });
  if (row) return { outcome: 'counted', startedPause: row.pausedUntil !== null };
  const until = await findPause(db, key, now);
  const seconds = until ? Math.ceil((until.getTime() - now.getTime()) / 1000) : 1;
  return { outcome: 'paused', retryAfterSeconds: Math.max(1, seconds) };
}

async function findPause(db: Database, key: string, now: Date): Promise<Date | null | undefined> {
  const [row] = await db
    .select({ until: throttles.pausedUntil })
    .from(throttles)
    .where(and(eq(throttles.key, sha256(key)), gt(throttles.pausedUntil, now)));
  return row?.until;
}

/** Takes a try back that turned out not to count, and the pause with it that it started. */
export async function takeTryBack(db: Database, { key }: Counter, startedPause: boolean): Promise<void> {
  await db
    .update(throttles)
    .set({ hits: sql`greatest(${throttles.hits} - 1, 0)`, ...(startedPause && { pausedUntil: null }) })
    .where(eq(throttles.key, sha256(key)));
}

export async function forgetTries(db: Database, { key }: Counter): Promise<void> {
  await db.delete(throttles).where(eq(throttles.key, sha256(key)));
}

export type TriesOf = { kind: string; tries: number; latestPauseEndsAt: Date | null; key: string };

/** What is counted for any of `subjects` and not forgotten yet. */
export async function listTries(db: Database, subjects: readonly string[], now: Date): Promise<TriesOf[]> {
  const rows = await db
    .select()
    .from(throttles)
    .where(and(inArray(throttles.subject, subjects.map(sha256)), gt(throttles.windowEndsAt, now)))
    .orderBy(throttles.kind, throttles.key);
  return rows.map((row) => ({
    kind: row.kind ?? '',
    tries: row.hits,
    latestPauseEndsAt: row.pausedUntil,
    key: row.key,
  }));
}

/** Forgets what is counted for any of `subjects`, of one kind or of all. Answers how many rows there were. */
export async function forgetTriesOf(db: Database, subjects: readonly string[], kind?: string): Promise<number> {
  const forgotten = await db
    .delete(throttles)
    .where(
      and(inArray(throttles.subject, subjects.map(sha256)), kind === undefined ? undefined : eq(throttles.kind, kind)),
    )
    .returning({ key: throttles.key });
  return forgotten.length;
}

/** Counters that are over, rate limits included. A pause may last longer than what led to it is remembered. */
export const forgottenTries: Expiring = {
  table: throttles,
  at: throttles.windowEndsAt,
  where: (then) => sql`(${throttles.pausedUntil} is null or ${throttles.pausedUntil} <= ${then})`,
};

/**
 * Fixed-window counters in PostgreSQL, so that limits hold across instances and restarts. One statement counts and
 * answers; nothing is read first. Keys are hashed: the table tells no addresses.
 */
import { eq, type SQL, sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { throttles } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';

export type Window = { hits: number; resetAt: Date };

/** Counts one more hit on `key` and answers the count in the current window, this hit included. */
export async function countHit(db: Database, key: string, windowSeconds: number, now = new Date()): Promise<Window> {
  const windowEndsAt = new Date(now.getTime() + windowSeconds * 1000);
  const over = isOver(windowSeconds, now);
  const [row] = await db
    .insert(throttles)
    .values({ key: sha256(key), hits: 1, windowEndsAt })
    .onConflictDoUpdate({
      target: throttles.key,
      set: {
        hits: sql`case when ${over} then 1 else ${throttles.hits} + 1 end`,
        windowEndsAt: sql`case when ${over} then excluded.window_ends_at else ${throttles.windowEndsAt} end`,
      },
    })
    .returning({ hits: throttles.hits, resetAt: throttles.windowEndsAt });
  return row ?? { hits: 1, resetAt: windowEndsAt };
}

export async function clearHits(db: Database, key: string): Promise<void> {
  await db.delete(throttles).where(eq(throttles.key, sha256(key)));
}

/** Takes one hit back, for requests that turned out not to count. */
export async function uncountHit(db: Database, key: string): Promise<void> {
  await db
    .update(throttles)
    .set({ hits: sql`greatest(${throttles.hits} - 1, 0)` })
    .where(eq(throttles.key, sha256(key)));
}

/** Takes what comes once in `seconds`: true for whoever is first, false for all others until the time is over. */
export async function claimTurn(db: Database, key: string, seconds: number, now = new Date()): Promise<boolean> {
  const claimed = await db
    .insert(throttles)
    .values({ key: sha256(key), hits: 1, windowEndsAt: new Date(now.getTime() + seconds * 1000) })
    .onConflictDoUpdate({
      target: throttles.key,
      set: { windowEndsAt: sql`excluded.window_ends_at` },
      setWhere: isOver(seconds, now),
    })
    .returning({ key: throttles.key });
  return claimed.length === 1;
}

/** A window that ends later than any that began by this clock is left from before the clock was set back. */
function isOver(windowSeconds: number, now: Date): SQL {
  const latest = new Date(now.getTime() + 2 * windowSeconds * 1000);
  return sql`(${throttles.windowEndsAt} <= ${now.toISOString()}::timestamptz
    or ${throttles.windowEndsAt} > ${latest.toISOString()}::timestamptz)`;
}

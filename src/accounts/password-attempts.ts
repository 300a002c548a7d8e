/**
 * How many wrong passwords in a row there were for an address, or from a browser that is known for it. An attempt is
 * counted before it is judged, in one statement, so that parallel ones cannot slip past the limit.
 */
import { sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { throttles } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';

/** After this many wrong ones in a row nothing is judged for a while. */
const most = 30;
const pauseSeconds = 15 * 60;

/** A row of failures is forgotten this long after the last one. */
const memorySeconds = 24 * 60 * 60;

/**
 * Counts one more attempt on `bucket`. The one that reaches the limit is still judged and starts the pause; later ones
 * get the seconds until it ends and do not prolong it.
 */
export async function countAttempt(
  db: Database,
  bucket: string,
  now: Date,
): Promise<{ outcome: 'counted' } | { outcome: 'throttled'; retryAfterSeconds: number }> {
  const after = (seconds: number) => new Date(now.getTime() + seconds * 1000);
  const over = sql`${throttles.windowEndsAt} <= ${now.toISOString()}::timestamptz`;
  const [row] = await db
    .insert(throttles)
    .values({ key: sha256(bucket), hits: 1, windowEndsAt: after(memorySeconds) })
    .onConflictDoUpdate({
      target: throttles.key,
      set: {
        hits: sql`case when ${over} then 1 else ${throttles.hits} + 1 end`,
        windowEndsAt: sql`case
          when ${over} or ${throttles.hits} + 1 < ${most} then excluded.window_ends_at
          when ${throttles.hits} + 1 = ${most} then ${after(pauseSeconds).toISOString()}::timestamptz
          else ${throttles.windowEndsAt} end`,
      },
    })
    .returning({ hits: throttles.hits, resetAt: throttles.windowEndsAt });
  if (!row || row.hits <= most) return { outcome: 'counted' };
  return { outcome: 'throttled', retryAfterSeconds: Math.ceil((row.resetAt.getTime() - now.getTime()) / 1000) };
}

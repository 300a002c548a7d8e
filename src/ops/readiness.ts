/** Whether requests can be served now: what a load balancer asks every second or so, of each instance. */
import { sql } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { pendingMigrations } from '../db/migrations.ts';
import { findMove } from '../db/move.ts';
import { signingKeys } from '../db/schema.ts';
import { keptFor, within } from '../lib/kept-for.ts';

export type Readiness = {
  ready: boolean;
  /** `ok`, or what is wrong. `sweep` is told and turns nothing red: old rows are no reason to serve nobody. */
  checks: Record<'server' | 'database' | 'migrations' | 'keys' | 'sweep', string>;
};

type Dependencies = {
  db: Database;
  isDraining: () => boolean;
  /** The `kid` of each key that this instance has. */
  keyIds: () => readonly string[];
  /** Seconds since the oldest row that should be gone has expired. */
  sweepLag: () => Promise<number>;
};

/** However many ask, the database is asked once a second. */
const keptMs = 900;
const sweepKeptMs = 10_000;
const patienceMs = 2_000;
/** Other instances follow a change of keys within seconds. */
const followSeconds = 60;
const sweepLateSeconds = 60 * 60;

export function createReadiness({ db, isDraining, keyIds, sweepLag }: Dependencies): () => Promise<Readiness> {
  const latestSweep = keptFor(sweepKeptMs, () => within(patienceMs, sweepLag()));
  const latest = keptFor(keptMs, () => within(patienceMs, look()).catch(() => unreachable));
  return async () => {
    const checks = { server: isDraining() ? 'stopping' : 'ok', ...(await latest()) };
    const { sweep: _, ...needed } = checks;
    return { ready: Object.values(needed).every((state) => state === 'ok'), checks };
  };

  async function look() {
    const pending = await pendingMigrations(db);
    if (pending > 0) return { ...reachable, migrations: `${pending} pending`, keys: 'unknown', sweep: 'unknown' };
    // While it moves, what only reads is served. Then the copy is in use: a token that was revoked there looks good here.
    if ((await findMove(db))?.state === 'moved')
      return { ...reachable, database: 'moved', keys: 'unknown', sweep: 'unknown' };
    const keys = (await hasCurrentKeys()) ? 'ok' : 'not those that are stored';
    return { ...reachable, keys, sweep: await describeSweep() };
  }

  /** An instance that cannot open a key that signs elsewhere publishes too few, and refuses what others signed. */
  async function hasCurrentKeys(): Promise<boolean> {
    const { rows } = await db.execute<{ kid: string }>(sql`
      select kid from ${signingKeys} where state = 'current'
        and coalesce(activated_at, created_at) < now() - make_interval(secs => ${followSeconds})`);
    return keyIds().length > 0 && rows.every(({ kid }) => keyIds().includes(kid));
  }

  async function describeSweep(): Promise<string> {
    const seconds = await latestSweep().catch(() => undefined);
    if (seconds === undefined) return 'unknown';
    return seconds < sweepLateSeconds ? 'ok' : `${Math.round(seconds)} seconds behind`;
  }
}

const reachable = { database: 'ok', migrations: 'ok' };
const unreachable = { database: 'not answering', migrations: 'unknown', keys: 'unknown', sweep: 'unknown' };

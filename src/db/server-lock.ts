import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { singleConnection } from './single-connection.ts';

/** One server per embedded database. The operator's commands do not take it. */
const serverLock = 7_241_936_503;

const patienceMs = 2_000;
const retryMs = 50;
const retakeMs = 500;

export type ServerLock = { release(): Promise<void> };

/**
 * Makes this process the one server of the database at `url`: an advisory lock on a connection of its own, which dies
 * with the process however it ends. Answers undefined when another server has held it for two seconds. When the
 * connection is lost with the database, the lock is taken again once the database is back.
 * @throws when the database cannot be reached at first
 */
export async function lockServer(url: string): Promise<ServerLock | undefined> {
  const released = new AbortController();
  let holder: Client | undefined;

  const take = async (): Promise<boolean> => {
    const client = singleConnection(url, 'latchkey-server-lock');
    client.once('end', () => {
      if (holder !== client) return;
      holder = undefined;
      retaking = retake();
    });
    try {
      await client.connect();
      const { rows } = await client.query('select pg_try_advisory_lock($1) as taken', [serverLock]);
      if (rows[0]?.taken === true) holder = client;
    } finally {
      if (holder !== client) await client.end();
    }
    return holder === client;
  };

  let retaking: Promise<void> | undefined;
  const retake = async (): Promise<void> => {
    while (!released.signal.aborted && !(await take().catch(() => false))) {
      await delay(retakeMs, undefined, { signal: released.signal }).catch(() => {});
    }
  };

  for (const end = Date.now() + patienceMs; !(await take()); await delay(retryMs)) {
    if (Date.now() > end) return undefined;
  }
  return {
    release: async () => {
      released.abort();
      await retaking;
      const client = holder;
      holder = undefined;
      await client?.end();
    },
  };
}

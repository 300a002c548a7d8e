/**
 * Notices of changes (LISTEN/NOTIFY), for what processes keep in memory: the triggers of migration 0003 send one in the
 * transaction of each change. A notice is a hint and no more. Whether notices arrive at all is tried out on every
 * connection, since a pooler in transaction mode takes LISTEN and delivers nothing; while they do not arrive, whoever
 * keeps something looks again after a second (cached.ts).
 */
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import type { Client } from 'pg';
import type { Logger } from 'pino';
import { type OpenDatabase, reasonOf } from './database.ts';
import type { NoticedTable } from './own-writes.ts';
import { singleConnection } from './single-connection.ts';

export type Notices = {
  /** `changed` is told which row of the table changed, or nothing when any may have: all of them, after a gap. */
  subscribe(table: NoticedTable, changed: (key: string | undefined) => void): void;
  /** Whether a change made anywhere is told here at once. */
  arriving(): boolean;
  /** A number that grows with every change that this process makes: note it before reading what is to be kept. */
  now(): number;
  /**
   * What was read at this number or before may be older than a change of this process's own, whose notice is still on its
   * way. 0 most of the time.
   */
  doubtfulUntil(): number;
  /** Resolves when it is known for the first time whether notices arrive. */
  tried: Promise<void>;
  close(): Promise<void>;
};

type Dependencies = { database: OpenDatabase; log: Pick<Logger, 'info' | 'warn'> };

const channel = 'latchkey';
/** How often a quiet connection is asked whether it is still there, and how long it may take to say so. */
const askEveryMs = 2_000;
const answerMs = 2_000;
/** A notice takes milliseconds. */
const noticeMs = 1_000;
const longestPauseMs = 30_000;

/** Listens on a connection of its own, and connects again for ever. Keeps no process alive and lets no start fail. */
export function createNotices({ database, log }: Dependencies): Notices {
  const { db, pool, ownWrites } = database;
  const subscribers: { table: string; changed: (key: string | undefined) => void }[] = [];
  const mark = `mark ${randomUUID()} `;
  const tried = Promise.withResolvers<void>();
  let connection: Client | undefined;
  let arriving = false;
  let told = true;
  let now = 1;
  let doubtfulUntil = 0;
  let onMark = () => {};
  let markWaits = false;
  let turn: Promise<unknown> = Promise.resolve();
  let closed = false;
  const closing = Promise.withResolvers<void>();

  ownWrites.subscribe(() => {
    doubtfulUntil = now;
    now += 1;
    if (arriving) sendMark();
  });
  void follow();
  return {
    subscribe: (table, changed) => void subscribers.push({ table, changed }),
    arriving: () => arriving,
    now: () => now,
    doubtfulUntil: () => doubtfulUntil,
    tried: tried.promise,
    async close() {
      closed = true;
      closing.resolve();
      const ended = connection?.end().catch(() => {});
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, noticeMs).unref())]);
    },
  };

  async function follow(): Promise<void> {
    for (let failures = 0; !closed; failures += 1) {
      let reason = 'a notice did not arrive: a pooler in transaction mode delivers none';
      connection = singleConnection(pool.options.connectionString as string, 'latchkey-notices', answerMs);
      const ended = new Promise<false>((resolve) => connection?.once('end', () => resolve(false)));
      try {
        if (await listens(connection)) {
          failures = 0;
          begin();
          reason = 'the connection was closed';
          // The timer is set before anybody hears that notices arrive.
          const stays = Promise.race([staysFor(connection, askEveryMs), ended]);
          tried.resolve();
          await stays;
        }
      } catch (error) {
        reason = reasonOf(error);
      }
      stop(reason);
      tried.resolve();
      void connection.end().catch(() => {});
      if (!closed) await wait(Math.min(250 * 2 ** failures, longestPauseMs));
    }
  }

  /** The first notice is sent by another connection: through a pooler, one hears at most what it sends itself. */
  async function listens(client: Client): Promise<boolean> {
    client.on('notification', ({ payload = '' }) => {
      if (client === connection) hear(payload);
    });
    await client.connect();
    (client as Client & { unref(): void }).unref();
    await client.query(`listen ${channel}`);
    const arrived = new Promise<boolean>((resolve) => {
      onMark = () => resolve(true);
    });
    await db.execute(sql`select pg_notify(${channel}, ${mark + now})`);
    return Promise.race([arrived, wait(noticeMs).then(() => false)]);
  }

  /** Asks now and then whether the other side is still there. Ends, by failing, with the connection. */
  async function staysFor(client: Client, everyMs: number): Promise<never> {
    for (;;) {
      await wait(everyMs);
      await inTurn(() => client.query('select 1'));
    }
  }

  function hear(payload: string): void {
    if (payload.startsWith(mark)) {
      if (doubtfulUntil < Number(payload.slice(mark.length))) doubtfulUntil = 0;
      onMark();
      return;
    }
    const [, table, key] = /^(\S+)(?: (.*))?$/.exec(payload) ?? [];
    for (const one of subscribers) if (one.table === table) one.changed(key);
  }

  /** Notices come in the order of their commits: when this one is back, those of the changes before it have come. */
  function sendMark(): void {
    if (markWaits) return;
    markWaits = true;
    const send = () => {
      markWaits = false;
      return connection?.query('select pg_notify($1, $2)', [channel, mark + now]);
    };
    // Without its mark a change only costs that more is looked up again.
    inTurn(send).catch(() => {});
  }

  /** One statement at a time. */
  function inTurn(send: () => Promise<unknown> | undefined): Promise<unknown> {
    const answered = turn.then(send);
    turn = answered.catch(() => {});
    return answered;
  }

  function begin(): void {
    for (const { changed } of subscribers) changed(undefined);
    doubtfulUntil = 0;
    arriving = true;
    if (!told) log.info('notices of changes arrive');
    told = true;
  }

  function stop(reason: string): void {
    arriving = false;
    if (told && !closed)
      log.warn({ reason }, 'notices of changes do not arrive: what is kept in memory is kept for a second');
    told = false;
  }

  /** Or until it is closed. */
  function wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms).unref();
    void closing.promise.then(() => {
      clearTimeout(timer);
      resolve();
    });
    return promise;
  }
}

/**
 * What the database says of itself, for all instances alike: sizes, queues, ages. It is asked at a scrape, not more often
 * than every ten seconds, and never for long: a scrape of a server whose database hangs still tells about the server.
 */
import { type SQL, sql } from 'drizzle-orm';
import { Gauge, Registry } from 'prom-client';
import type { Database } from '../db/database.ts';
import { auditEvents, backchannelLogouts, mails, signingKeys } from '../db/schema.ts';
import { tableSizes } from '../db/table-sizes.ts';
import { keptFor, within } from '../lib/kept-for.ts';
import type { ProcessMetrics } from './metrics-workers.ts';

export type DatabaseGauges = { collect(): Promise<ProcessMetrics> };

const keptMs = 10_000;
const patienceMs = 2_000;
/** Longer queues are told as this: counting them would cost more than knowing. */
const countedAtMost = 10_000;
const upMeans = '1 when the database answered within two seconds what it is asked at a scrape';

export function createDatabaseGauges({
  db,
  sweepLag,
}: {
  db: Database;
  /** Seconds since the oldest row that should be gone has expired. */
  sweepLag: () => Promise<number>;
}): DatabaseGauges {
  const registry = new Registry();
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `latchkey_${name}`, help, labelNames, registers: [registry] });

  const up = gauge('database_up', upMeans);
  const rows = gauge('table_rows', 'Rows by table, as PostgreSQL estimates them', ['table']);
  const dead = gauge('table_dead_rows', 'Rows that are deleted and not yet vacuumed, estimated', ['table']);
  const bytes = gauge('table_bytes', 'Size by table, indexes included', ['table']);
  const connections = gauge('database_connections', 'Connections to the whole PostgreSQL server, of everybody');
  const maxConnections = gauge('database_max_connections', 'Connections that the PostgreSQL server takes');
  const keyAge = gauge('signing_key_age_seconds', 'How long the oldest key has been in its state', ['alg', 'state']);
  const keys = gauge('signing_keys', 'Signing keys in the database', ['alg', 'state']);
  const waiting = gauge('queue_waiting', `What waits to be sent, ${countedAtMost} at most`, ['queue']);
  const oldest = gauge('queue_oldest_seconds', 'Age of the oldest that waits', ['queue']);
  const chainLag = gauge(
    'audit_chain_lag_seconds',
    'Age of the oldest event that is not in the chain of the audit log',
  );
  const sweep = gauge('sweep_lag_seconds', 'For how long the oldest row that should be swept has been expired');

  async function read(): Promise<ProcessMetrics> {
    registry.resetMetrics();
    await readTables();
    await readServer();
    await readKeys();
    await tellQueue('mail', sql`select created_at as at from ${mails} where kept_at is null`);
    await tellQueue('logout', sql`select created_at as at from ${backchannelLogouts}`);
    const { age } = await readQueue(sql`select at from ${auditEvents} where position is null`);
    chainLag.set(age);
    sweep.set(await sweepLag());
    up.set(1);
    return registry.getMetricsAsJSON();
  }

  async function readTables(): Promise<void> {
    for (const { name: table, ...of } of await tableSizes(db)) {
      rows.set({ table }, of.rows);
      dead.set({ table }, of.dead);
      bytes.set({ table }, of.bytes);
    }
  }

  async function readServer(): Promise<void> {
    const [server] = await ask<{ used: number; most: number }>(sql`
      select sum(numbackends)::float8 as used, current_setting('max_connections')::float8 as most from pg_stat_database`);
    connections.set(server?.used ?? 0);
    maxConnections.set(server?.most ?? 0);
  }

  async function readKeys(): Promise<void> {
    const states = await ask<{ alg: string; state: string; count: number; age: number }>(sql`
      select alg, state, count(*)::float8 as count, greatest(0, extract(epoch from now() - min(case state
        when 'next' then created_at when 'current' then coalesce(activated_at, created_at)
        else coalesce(retired_at, created_at) end)))::float8 as age
      from ${signingKeys} where state <> 'revoked' group by alg, state`);
    for (const { alg, state, count, age } of states) {
      keys.set({ alg, state }, count);
      keyAge.set({ alg, state }, age);
    }
  }

  async function tellQueue(queue: string, rows: SQL): Promise<void> {
    const { count, age } = await readQueue(rows);
    waiting.set({ queue }, count);
    oldest.set({ queue }, age);
  }

  async function readQueue(rows: SQL): Promise<{ count: number; age: number }> {
    const [state] = await ask<{ count: number; age: number }>(sql`
      select count(*)::float8 as count, coalesce(greatest(0, extract(epoch from now() - min(at))), 0)::float8 as age
      from (${rows} limit ${countedAtMost}) queue`);
    return state ?? { count: 0, age: 0 };
  }

  async function ask<Row extends Record<string, unknown>>(query: SQL): Promise<Row[]> {
    return (await db.execute(query)).rows as Row[];
  }

  const down = new Registry();
  new Gauge({ name: 'latchkey_database_up', help: upMeans, registers: [down] }).set(0);
  const latest = keptFor(keptMs, read);

  return {
    /** Without an answer in time there are no numbers, rather than old ones. What was asked is waited for next time. */
    collect: () => within(patienceMs, latest()).catch(() => down.getMetricsAsJSON()),
  };
}

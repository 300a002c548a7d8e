import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getTableName, is, sql } from 'drizzle-orm';
import { PgTable } from 'drizzle-orm/pg-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hotTables } from '../../bench/storage.ts';
import { lockExpired } from '../../src/db/expired.ts';
import * as schema from '../../src/db/schema.ts';
import { lasting, type Retention, retentions, tableNameOf } from '../../src/ops/retention.ts';
import { countSweepable, sweep, sweepLag } from '../../src/ops/sweep.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const now = new Date('2027-03-04T05:06:07Z');
const secondsAgo = (seconds: number) => new Date(now.getTime() - seconds * 1000);
const nameOf = (retention: Retention) => `${tableNameOf(retention)}.${retention.at.name}`;

/** Inserts a row of each kind that was over at that time. */
const rows: Record<string, (id: string, at: Date) => Promise<unknown>> = {
  'oidc_grants.expiresAt': (id, expiresAt) =>
    database.db.insert(schema.oidcGrants).values({ model: 'AccessToken', id, payload: {}, expiresAt }),
  'oidc_sessions.expiresAt': (uid, expiresAt) =>
    database.db.insert(schema.oidcSessions).values({ uid, payload: {}, expiresAt }),
  'oidc_sessions.endedAt': (uid, endedAt) =>
    database.db.insert(schema.oidcSessions).values({ uid, payload: {}, endedAt, expiresAt: new Date('2030-01-01') }),
  'oidc_session_ids.until': async (idHash, until) => {
    await database.db
      .insert(schema.oidcSessions)
      .values({ uid: 'live', payload: {}, expiresAt: new Date('2030-01-01') })
      .onConflictDoNothing();
    await database.db.insert(schema.oidcSessionIds).values({ idHash, uid: 'live', until });
  },
  'oidc_interaction.expiresAt': (id, expiresAt) =>
    database.db.insert(schema.oidcInteraction).values({ id, payload: {}, expiresAt }),
  'throttles.windowEndsAt': (key, windowEndsAt) =>
    database.db.insert(schema.throttles).values({ key, hits: 1, windowEndsAt }),
  'email_tokens.expiresAt': (tokenHash, expiresAt) =>
    database.db.insert(schema.emailTokens).values({ tokenHash, purpose: 'register', expiresAt }),
  'passkey_challenges.expiresAt': (idHash, expiresAt) =>
    database.db
      .insert(schema.passkeyChallenges)
      .values({ idHash, challenge: 'challenge', purpose: 'sign-in', expiresAt }),
  'remembered_devices.expiresAt': async (tokenHash, expiresAt) => {
    await insertAccount('u_remembered');
    await database.db.insert(schema.rememberedDevices).values({ tokenHash, accountId: 'u_remembered', expiresAt });
  },
  'mails.keptAt': (id, keptAt) =>
    database.db
      .insert(schema.mails)
      .values({ id, template: 'verify', messageEncrypted: 'sealed', keptAt, nextAttemptAt: keptAt }),
  'initial_access_tokens.expiresAt': (tokenHash, expiresAt) =>
    database.db.insert(schema.initialAccessTokens).values({ tokenHash, expiresAt }),
  'initial_access_tokens.createdAt': (tokenHash, createdAt) =>
    database.db.insert(schema.initialAccessTokens).values({ tokenHash, usesLeft: 0, createdAt }),
  'oidc_clients.createdAt': (clientId, createdAt) =>
    database.db
      .insert(schema.oidcClients)
      .values({ clientId, metadata: {}, registeredBy: 'open', usedAt: null, createdAt }),
  'users.deletionAt': (id, deletionAt) => insertAccount(`u_${id}`, deletionAt),
  'playground_runs.expiresAt': (idHash, expiresAt) =>
    database.db.insert(schema.playgroundRuns).values({ idHash, payloadEncrypted: 'sealed', expiresAt }),
};

function insertAccount(id: string, deletionAt?: Date): Promise<unknown> {
  const email = `${id}@example.com`;
  return database.db
    .insert(schema.users)
    .values({ id, email, emailNormalized: email, name: id, deletionAt })
    .onConflictDoNothing();
}

async function idsIn({ table }: Retention): Promise<string[]> {
  const values = (await database.db.select().from(table)).flatMap((row) => Object.values(row));
  return [...new Set(values.filter((value) => /^(u_)?(over|young)$/.test(String(value))).map(String))];
}

test('every table is swept, or there is a reason why it does not grow by itself', () => {
  const tables = Object.values(schema)
    .filter((one) => is(one, PgTable))
    .map((table) => getTableName(table as PgTable));
  const accounted = new Set([...retentions.map(tableNameOf), ...Object.keys(lasting)]);
  expect([...accounted].toSorted()).toEqual(tables.toSorted());
});

test('every kind of rows that is swept is looked at here', () => {
  expect(retentions.map(nameOf).toSorted()).toEqual(Object.keys(rows).toSorted());
});

test.each(retentions.map((retention) => [nameOf(retention), retention] as const))(
  '%s: a row goes when it has been over for as long as it is kept, and not before',
  async (name, retention) => {
    await rows[name]?.('over', secondsAgo(retention.keptSeconds + 1));
    await rows[name]?.('young', secondsAgo(retention.keptSeconds - 60));
    expect(await countSweepable(database.db, now)).toContainEqual({ retention, rows: 1 });
    const lag = await sweepLag(database.db, now);
    if (!retention.overSinceUnknown) expect(lag).toBeCloseTo(1, 0);
    const swept = await sweep(database.db, { now });
    expect(swept.filter(({ deleted }) => deleted > 0)).toEqual([expect.objectContaining({ retention, deleted: 1 })]);
    expect(await idsIn(retention)).toEqual([expect.stringMatching(/young$/)]);
    expect(await sweepLag(database.db, now)).toBe(0);
    await database.db.delete(retention.table);
  },
);

test('a count whose pause goes on is kept, whatever its window', async () => {
  const later = new Date(now.getTime() + 60_000);
  await database.db
    .insert(schema.throttles)
    .values({ key: 'paused', hits: 9, windowEndsAt: secondsAgo(10 * 24 * 3600), pausedUntil: later });
  await sweep(database.db, { now });
  expect(await database.db.select().from(schema.throttles)).toHaveLength(1);
  expect(await sweepLag(database.db, now)).toBe(0);
  await database.db.delete(schema.throttles);
});

test('clients that were used, or are the operator’s, and tokens with uses left are kept for ever', async () => {
  const longAgo = new Date('2020-01-01');
  const client = { metadata: {}, createdAt: longAgo };
  await database.db.insert(schema.oidcClients).values([
    { ...client, clientId: 'used', registeredBy: 'open', usedAt: longAgo },
    { ...client, clientId: 'operators', registeredBy: 'operator', usedAt: null },
    { ...client, clientId: 'own', registeredBy: 'token', usedAt: null, firstParty: true },
  ]);
  await database.db.insert(schema.initialAccessTokens).values([
    { tokenHash: 'endless', createdAt: longAgo },
    { tokenHash: 'two more', usesLeft: 2, createdAt: longAgo },
  ]);
  await sweep(database.db, { now });
  expect(await database.db.select().from(schema.oidcClients)).toHaveLength(3);
  expect(await database.db.select().from(schema.initialAccessTokens)).toHaveLength(2);
});

/** Operators make them one at a time: a table of a few rows has nothing to gain. */
const withoutIndex = ['initial_access_tokens.expiresAt', 'initial_access_tokens.createdAt'];

test('what is over is found by an index, and in its order', async () => {
  const unindexed = await database.db.transaction(async (tx) => {
    // The tables are empty: an index that can be used is then still dearer than none.
    await tx.execute(sql`set local enable_seqscan = off`);
    await tx.execute(sql`set local enable_sort = off`);
    const found: string[] = [];
    for (const retention of retentions) {
      const { rows: lines } = await tx.execute<{ 'QUERY PLAN': string }>(
        sql`explain ${lockExpired(retention, { before: now, limit: 1_000 }, sql`ctid`)}`,
      );
      const plan = lines.map((line) => line['QUERY PLAN']).join('\n');
      if (!plan.includes('Index Scan') || /Seq Scan|Sort/.test(plan)) found.push(nameOf(retention));
    }
    return found;
  });
  expect(unindexed).toEqual(withoutIndex);
});

test('tables in which rows come and go are vacuumed early', async () => {
  const { rows: tuned } = await database.db.execute<{ name: string }>(
    sql`select relname as name from pg_class where 'autovacuum_vacuum_scale_factor=0.02' = any (reloptions)`,
  );
  expect(tuned.map(({ name }) => name)).toEqual(expect.arrayContaining(hotTables));
});

test('docs/storage.md has the list of what is kept', async () => {
  const file = join(import.meta.dirname, '../../docs/storage.md');
  const swept = retentions.map((retention) => [
    `\`${tableNameOf(retention)}\``,
    retention.what,
    retention.keptSeconds === 0 ? 'not at all' : inWords(retention.keptSeconds),
    retention.why,
  ]);
  const others = Object.entries(lasting).map(([table, why]) => [`\`${table}\``, why]);
  const page = readFileSync(file, 'utf8')
    .replace(between('retention'), () => table(['table', 'rows', 'kept for another', 'because'], swept))
    .replace(between('lasting'), () => table(['table', 'what keeps it in bounds'], others));
  await expect(page).toMatchFileSnapshot(file);
});

const between = (name: string) => new RegExp(`(?<=<!-- ${name}: .* -->\\n)[\\s\\S]*(?=<!-- end of ${name} -->)`);

function inWords(seconds: number): string {
  const [number, unit] = seconds % 86_400 === 0 ? [seconds / 86_400, 'day'] : [seconds / 60, 'minute'];
  return `${number} ${unit}${number === 1 ? '' : 's'}`;
}

function table(head: string[], cells: string[][]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...cells].map((row) => row[column]?.length ?? 0)));
  const rule = widths.map((width) => '-'.repeat(width));
  const lines = [head, rule, ...cells].map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)));
  return `\n${lines.map((row) => `| ${row.join(' | ')} |\n`).join('')}\n`;
}

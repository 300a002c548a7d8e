import { createHash } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chainEvents } from '../../src/audit/chain.ts';
import { record } from '../../src/audit/record.ts';
import { type ExportedEvent, exportEvents, findEvents, type Search } from '../../src/audit/search.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { key, write } from './log.ts';

let log: OpenTestDatabase;
const wall = new Date('2027-03-01T00:00:00Z');

beforeAll(async () => {
  log = await openTestDatabase();
  await record(log.db, { event: 'login.failed', accountId: 'u_ada', details: { method: 'password' } });
  await record(log.db, { event: 'login.succeeded', accountId: 'u_ada', sessionUid: 's', details: { amr: ['pwd'] } });
  await record(log.db, { event: 'consent.granted', accountId: 'u_eve', clientId: 'c_1' });
  await record(log.db, { event: 'client.deleted', clientId: 'c_1', source: { operator: 'root' } });
  await chainEvents(log.db, key);
  await log.db.execute(sql`insert into audit_events (event, at) values ('key.created', ${wall.toISOString()})`);
});
afterAll(() => log.close());

const found = async (search: Search) => (await findEvents(log.db, search, 50)).map(({ event }) => event);

test('events are found by account, client, name, kind, outcome and time, the newest first', async () => {
  expect(await found({ accountId: 'u_ada' })).toEqual(['login.succeeded', 'login.failed']);
  expect(await found({ clientId: 'c_1' })).toEqual(['client.deleted', 'consent.granted']);
  expect(await found({ event: 'login' })).toEqual(['login.succeeded', 'login.failed']);
  expect(await found({ event: 'login.failed' })).toEqual(['login.failed']);
  expect(await found({ event: 'log' })).toEqual([]);
  expect(await found({ outcome: 'failure' })).toEqual(['login.failed']);
  expect(await found({ until: wall })).toHaveLength(4);
  expect(await found({ since: wall })).toEqual(['key.created']);
  expect(await findEvents(log.db, {}, 2)).toHaveLength(2);
});

async function exported(search: Search = {}): Promise<ExportedEvent[]> {
  const events: ExportedEvent[] = [];
  for await (const event of exportEvents(log.db, search)) events.push(JSON.parse(JSON.stringify(event)));
  return events;
}

test('an export has every event with all that is known of it, in the order of the chain', async () => {
  const events = await exported();
  expect(events.map(({ position }) => position)).toEqual([1, 2, 3, 4, null]);
  expect(events[3]).toEqual({
    id: 4,
    at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    event: 'client.deleted',
    outcome: 'success',
    account_id: null,
    client_id: 'c_1',
    session_uid: null,
    address: null,
    user_agent: null,
    request_id: null,
    details: { by: 'cli', user: 'root' },
    position: 4,
    hash: expect.stringMatching(/^[\w-]{43}$/),
  });
  expect(events.at(-1)).toMatchObject({ event: 'key.created', at: '2027-03-01T00:00:00.000000Z', hash: null });
  expect((await exported({ outcome: 'failure' })).map(({ id }) => id)).toEqual([1]);
});

test('whoever has an export can check its links without us', async () => {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.keys(value)
        .sort()
        .map((name) => [name, sorted((value as Record<string, unknown>)[name])]),
    );
  };
  let previous = '';
  for (const { hash, ...event } of (await exported()).filter(({ position }) => position !== null)) {
    const text = previous + JSON.stringify(sorted(event));
    expect(hash).toBe(createHash('sha256').update(text).digest('base64url'));
    previous = hash ?? '';
  }
});

test('a long log is read some at a time, and nothing is left out or told twice', async () => {
  const long = await openTestDatabase();
  try {
    await long.db.execute(sql`insert into audit_events (event) select 'key.created' from generate_series(1, 2500)`);
    await chainEvents(long.db, key);
    await write(long.db, 3);
    const ids: number[] = [];
    for await (const { id } of exportEvents(long.db, {})) ids.push(id);
    expect(ids).toEqual(Array.from({ length: 2503 }, (_, index) => index + 1));
  } finally {
    await long.close();
  }
});

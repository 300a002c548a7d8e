/** The queue of logout tokens, with several instances at it. */
import { sql } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type Background, createBackground } from '../../src/lib/background.ts';
import { logoutDelivery } from '../../src/oidc/backchannel-logout.ts';
import { claimDueLogouts, maxAttempts } from '../../src/oidc/logout-queue.ts';
import { clearAuditLog } from '../support/audit.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;
let instances: Background[];

beforeAll(async () => {
  database = await openTestDatabase();
  for (const client of ['one', 'two', 'three']) {
    await database.db.execute(sql`
      insert into oidc_clients (client_id, metadata, registered_by)
      values (${client}, ${JSON.stringify({ backchannel_logout_uri: `https://${client}.example/out` })}, 'operator')`);
  }
});
beforeEach(() => {
  instances = [];
});
afterEach(async () => {
  await Promise.all(instances.map((instance) => instance.close()));
  await database.db.execute(sql`delete from backchannel_logouts`);
  await clearAuditLog(database.db);
});
afterAll(() => database.close());

async function queued(clientId: string, count: number): Promise<void> {
  await database.db.execute(sql`
    insert into backchannel_logouts (id, client_id, account_id, sid, next_attempt_at)
    select ${clientId} || n, ${clientId}, 'u_ada', n::text, now() - interval '1 second' from generate_series(1, ${count}) n`);
}

/** An instance whose clients are told by `send`. */
function instance(send: (clientId: string, sid: string) => Promise<void>) {
  const background = createBackground((name, error) => {
    throw new Error(name, { cause: error });
  });
  instances.push(background);
  const find = async (clientId: string) => ({
    backchannelLogoutUri: 'https://…',
    sendLogoutToken: (_sub: string, sid: string) => send(clientId, sid),
  });
  const provider = { current: { Client: { find } } } as unknown as Parameters<typeof logoutDelivery>[0]['provider'];
  return logoutDelivery({ db: database.db, provider, background, log: pino({ level: 'silent' }) });
}

const claim = (fullHosts: string[] = []) => claimDueLogouts(database.db, { limit: 20, perHost: 3, fullHosts });
const left = async () => (await database.db.execute(sql`select attempts from backchannel_logouts`)).rows;
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 });

test('eight instances at once deliver each token once', async () => {
  for (const client of ['one', 'two', 'three']) await queued(client, 15);
  const told: string[] = [];
  const eight = Array.from({ length: 8 }, () =>
    instance(async (clientId, sid) => {
      await Promise.resolve();
      told.push(clientId + sid);
    }),
  );
  for (const { wake } of eight) wake();
  await soon(async () => expect(await left()).toEqual([]));
  expect(told).toHaveLength(45);
  expect(new Set(told).size).toBe(45);
  const { rows } = await database.db.execute(sql`select event, count(*)::int from audit_events group by event`);
  expect(rows).toEqual([{ event: 'logout.delivered', count: 45 }]);
});

test('a host that hangs has three turns in an instance, and the others go on', async () => {
  await queued('one', 30);
  await queued('two', 30);
  const told: string[] = [];
  let release = () => {};
  const hanging = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { wake } = instance(async (clientId) => {
    told.push(clientId);
    if (clientId === 'one') await hanging;
  });
  wake();
  await soon(() => expect(told.filter((clientId) => clientId === 'two')).toHaveLength(30));
  expect(told.filter((clientId) => clientId === 'one')).toHaveLength(3);
  release();
  await soon(async () => expect(await left()).toEqual([]));
});

test('what a dead instance took is taken again, once the time of its attempt is over', async () => {
  await queued('one', 1);
  expect(await claim()).toMatchObject([{ clientId: 'one', sid: '1', attempts: 1, host: 'one.example' }]);
  expect(await claim()).toEqual([]);
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    vi.setSystemTime(Date.now() + 9_000);
    expect(await claim()).toEqual([]);
    vi.setSystemTime(Date.now() + 2_000);
    expect(await claim()).toMatchObject([{ attempts: 2 }]);
  } finally {
    vi.useRealTimers();
  }
});

test('the last attempt is made again when it came to no end, and none before its time', async () => {
  await queued('one', 1);
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const started = Date.now();
    for (let attempts = 1; attempts <= maxAttempts + 1; attempts += 1) {
      expect(await claim()).toMatchObject([{ attempts }]);
      expect(await claim()).toEqual([]);
      const { rows } = await database.db.execute(sql`select next_attempt_at from backchannel_logouts`);
      vi.setSystemTime(new Date(String(rows[0]?.next_attempt_at)));
    }
    const hours = (Date.now() - started) / 3_600_000;
    expect([hours > 12, hours < 24]).toEqual([true, true]);
  } finally {
    vi.useRealTimers();
  }
});

test('hosts that have all their turns are passed over', async () => {
  await queued('one', 5);
  await queued('two', 5);
  const claimed = await claim(['one.example']);
  expect(claimed.map(({ clientId }) => clientId)).toEqual(['two', 'two', 'two']);
});

import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type OpenDatabase, openDatabase } from '../../src/db/database.ts';
import { createNotices, type Notices } from '../../src/db/notices.ts';
import { type NoticedTable, noticedTables } from '../../src/db/own-writes.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createDatabaseProxy } from '../support/database-proxy.ts';
import { startDeafProxy } from '../support/deaf-proxy.ts';

let testDatabase: TestDatabase;
/** Another process, as the command line is one. */
let elsewhere: OpenDatabase;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  elsewhere = openDatabase(testDatabase.url);
});
afterAll(async () => {
  await elsewhere.close();
  await testDatabase.drop();
});

type Listener = { notices: Notices; database: OpenDatabase; log: string[]; heard: string[] };

/** Notes what it hears as `table key`, or `table` where anything may have changed. */
async function listen(url = testDatabase.url): Promise<Listener> {
  const database = openDatabase(url);
  const log: string[] = [];
  const say = (...args: unknown[]) => void log.push(String(args.at(-1)));
  const notices = createNotices({ database, log: { info: say, warn: say } as never });
  const heard: string[] = [];
  for (const table of noticedTables) {
    notices.subscribe(table, (key) => void heard.push(key === undefined ? table : `${table} ${key}`));
  }
  onTestFinished(async () => {
    await notices.close();
    await database.close();
  });
  await notices.tried;
  heard.length = 0;
  return { notices, database, log, heard };
}

const soon = { timeout: 10_000, interval: 10 };

describe('a change', () => {
  const api = sql`insert into apis (identifier, name, token_lifetime_seconds) values ('https://a.example', 'A', 60)`;
  const client = sql`insert into oidc_clients (client_id, metadata, registered_by) values ('c one', '{}', 'open')`;
  const changes: Record<NoticedTable, { statements: ReturnType<typeof sql>[]; told: string[] }> = {
    oidc_clients: {
      statements: [
        client,
        sql`update oidc_clients set secret_hash = 'x' where client_id = 'c one'`,
        sql`delete from oidc_clients where client_id = 'c one'`,
        sql`truncate oidc_clients cascade`,
      ],
      told: ['', 'oidc_clients c one', 'oidc_clients c one', 'oidc_clients'],
    },
    apis: {
      statements: [api, sql`update apis set name = 'B'`, sql`delete from apis`, sql`truncate apis cascade`],
      told: ['apis', 'apis', 'apis', 'apis'],
    },
    client_apis: {
      statements: [
        sql`insert into client_apis (client_id, api_identifier) values ('c one', 'https://a.example')`,
        sql`update client_apis set may_introspect = true`,
        sql`delete from oidc_clients`,
        sql`truncate client_apis`,
      ],
      told: ['client_apis c one', 'client_apis c one', 'client_apis c one', 'client_apis'],
    },
    token_exchange_permissions: {
      statements: [
        sql`insert into token_exchange_permissions values ('c one', 'https://a.example', 'https://a.example', 'delegation')`,
        sql`update token_exchange_permissions set mode = 'impersonation'`,
        sql`delete from apis`,
        sql`truncate token_exchange_permissions`,
      ],
      told: [...Array(3).fill('token_exchange_permissions c one'), 'token_exchange_permissions'],
    },
    authorization_details_types: {
      statements: [
        sql`insert into authorization_details_types (type, api_identifier, title) values ('t', 'https://a.example', 'T')`,
        sql`update authorization_details_types set title = 'U'`,
        sql`delete from apis`,
        sql`truncate authorization_details_types`,
      ],
      told: Array(4).fill('authorization_details_types'),
    },
    signing_keys: {
      statements: [
        sql`insert into signing_keys (kid, alg, state, public_jwk) values ('k', 'ES256', 'next', '{}')`,
        sql`update signing_keys set state = 'revoked'`,
        sql`delete from signing_keys`,
        sql`truncate signing_keys`,
      ],
      told: Array(4).fill('signing_keys'),
    },
  };

  test.each(noticedTables)('of %s is told everywhere, and no other row suspected', async (table) => {
    const { heard } = await listen();
    /** Notices come in order: what was to come has come when this one has. */
    const theEnd = async () => {
      await elsewhere.db.execute(sql`notify latchkey, 'signing_keys the end'`);
      await expect.poll(() => heard.at(-1), soon).toBe('signing_keys the end');
    };
    await elsewhere.db.execute(sql`truncate oidc_clients, apis, signing_keys cascade`);
    if (table !== 'oidc_clients' && table !== 'apis') await elsewhere.db.execute(client);
    if (table !== 'apis') await elsewhere.db.execute(api);
    await theEnd();
    for (const [at, statement] of changes[table].statements.entries()) {
      heard.length = 0;
      await elsewhere.db.execute(statement);
      await theEnd();
      const told = heard.filter((one) => one.split(' ')[0] === table && one !== 'signing_keys the end');
      expect([...new Set(told)].join(), `statement ${at}`).toBe(changes[table].told[at]);
    }
  });

  test('is told when it is committed, and not when it is rolled back', async () => {
    const { heard } = await listen();
    const change = (id: string) =>
      sql`insert into client_apis select ${id}, identifier from apis where identifier = 'https://b.example'`;
    await elsewhere.db.execute(sql`
      insert into apis (identifier, name, token_lifetime_seconds) values ('https://b.example', 'B', 60)`);
    for (const id of ['c_kept', 'c_lost']) {
      await elsewhere.db.execute(
        sql`insert into oidc_clients (client_id, metadata, registered_by) values (${id}, '{}', 'open')`,
      );
    }
    await expect(
      elsewhere.db.transaction(async (tx) => {
        await tx.execute(change('c_lost'));
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await elsewhere.db.transaction(async (tx) => void (await tx.execute(change('c_kept'))));
    await expect.poll(() => heard, soon).toContain('client_apis c_kept');
    expect(heard).not.toContain('client_apis c_lost');
  });

  test('that this process makes is in doubt until its notice has come', async () => {
    const { notices, database } = await listen();
    const before = notices.now();
    await database.db.execute(sql`update apis set name = 'C'`);
    expect(notices.doubtfulUntil()).toBe(before);
    expect(notices.now()).toBeGreaterThan(before);
    await expect.poll(() => notices.doubtfulUntil(), soon).toBe(0);
    await database.db.transaction(async (tx) => {
      await tx.execute(sql`update apis set name = 'D'`);
      expect(notices.doubtfulUntil()).toBe(0);
    });
    expect(notices.doubtfulUntil()).toBe(before + 1);
    await database.db.execute(sql`select * from apis`);
    expect(notices.now()).toBe(before + 2);
  });
});

describe('whether notices arrive', () => {
  test('is tried out: behind a pooler that takes LISTEN and delivers nothing they do not', async () => {
    const proxy = await startDeafProxy(testDatabase.url);
    onTestFinished(proxy.close);
    const { notices, log } = await listen(proxy.url);
    expect(notices.arriving()).toBe(false);
    expect(log).toEqual([expect.stringContaining('do not arrive')]);
    proxy.deaf = false;
    await expect.poll(() => notices.arriving(), soon).toBe(true);
    expect(log).toEqual([expect.stringContaining('do not arrive'), 'notices of changes arrive']);
  });

  test('ends with the connection, and when they do again anything may have changed', async () => {
    const proxy = await createDatabaseProxy(testDatabase.url);
    onTestFinished(proxy.close);
    await proxy.open();
    const { notices, heard, log } = await listen(proxy.url);
    expect(notices.arriving()).toBe(true);
    await proxy.refuse();
    await expect.poll(() => notices.arriving(), soon).toBe(false);
    expect(heard).toEqual([]);
    await proxy.open();
    await expect.poll(() => notices.arriving(), soon).toBe(true);
    expect(heard).toEqual([...noticedTables]);
    expect(log).toHaveLength(2);
  });

  test('ends when the other side has vanished without a word', async () => {
    const proxy = await createDatabaseProxy(testDatabase.url);
    onTestFinished(proxy.close);
    await proxy.open();
    const { notices } = await listen(proxy.url);
    proxy.hang();
    await expect.poll(() => notices.arriving(), soon).toBe(false);
  });

  test('is known soon, and is no, while there is no database', async () => {
    const proxy = await createDatabaseProxy(testDatabase.url);
    onTestFinished(proxy.close);
    const { notices, log } = await listen(proxy.url);
    expect(notices.arriving()).toBe(false);
    expect(log).toHaveLength(1);
  });
});

test('closing ends the connection and tries no more', async () => {
  const { notices } = await listen();
  const listeners = async () => {
    const { rows } = await elsewhere.db.execute(
      sql`select pid from pg_stat_activity where application_name = 'latchkey-notices' and datname = current_database()`,
    );
    return rows.length;
  };
  expect(await listeners()).toBeGreaterThan(0);
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  await notices.close();
  expect(notices.arriving()).toBe(false);
  vi.runAllTimers();
  vi.useRealTimers();
  await expect.poll(listeners, soon).toBe(0);
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createAccount } from '../../src/accounts/accounts.ts';
import { record } from '../../src/audit/record.ts';
import { testSecrets } from '../support/app.ts';
import { type Outcome, runCommandLine } from '../support/command-line.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-audit-'));
let database: OpenTestDatabase;
let ada: string;

beforeAll(async () => {
  database = await openTestDatabase();
  const made = await createAccount(database.db, { email: 'ada@moreno.example', name: 'Ada', passwordHash: 'x' });
  ada = made.outcome === 'created' ? made.account.id : '';
});
afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  await database.db.execute(sql`update users set suspended_at = null, password_expired_at = null`);
});

function run(...words: string[]): Promise<Outcome> {
  const env = { DATABASE_URL: database.url, ...testSecrets };
  return runCommandLine({ env, folder }, words);
}

async function json<T>(...words: string[]): Promise<T> {
  const { code, stdout, stderr } = await run(...words, '--json');
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as T;
}

async function lastEvent(): Promise<unknown> {
  const { rows } = await database.db.execute(
    sql`select event, account_id, details from audit_events order by id desc limit 1`,
  );
  return rows[0];
}

const me = { by: 'cli', user: userInfo().username };

test('list shows who did what in plain words, the newest first, and finds by address', async () => {
  await record(database.db, { event: 'login.failed', accountId: ada, source: { address: '192.0.2.7' } });
  await record(database.db, { event: 'login.succeeded', accountId: ada, details: { amr: ['pwd', 'otp'] } });
  await record(database.db, { event: 'login.succeeded', accountId: 'u_gone' });
  const { code, stdout } = await run('audit', 'list', '--account', 'ADA@moreno.example', '--event', 'login');
  expect(code).toBe(0);
  expect(stdout.split('\n').slice(0, 3)).toEqual([
    expect.stringMatching(/^TIME \(UTC\) +EVENT +ACCOUNT +CLIENT +FROM$/),
    expect.stringMatching(new RegExp(`^[\\d-]{10} [\\d:]{8} +login.succeeded +${ada} +amr: pwd, otp$`)),
    expect.stringMatching(new RegExp(`^[\\d-]{10} [\\d:]{8} +login.failed +${ada} +192.0.2.7$`)),
  ]);
  expect(await json('audit', 'list', '--account', 'u_gone')).toMatchObject([{ event: 'login.succeeded' }]);
  expect(await json('audit', 'list', '--outcome', 'failure')).toMatchObject([{ event: 'login.failed' }]);
  expect(await json('audit', 'list', '--until', '2020-01-01')).toEqual([]);
  expect(await json('audit', 'list', '--since', '1h', '--limit', '1')).toHaveLength(1);
  expect(await run('audit', 'list', '--since', '0h')).toMatchObject({ code: 0, stdout: 'No such events.\n' });
});

test.each([
  [2, ['--event', 'nothing.such'], 'docs/audit.md'],
  [2, ['--since', 'yesterday'], '7d'],
  [2, ['--since', '2027-02-30x'], '7d'],
  [2, ['--outcome', 'maybe'], 'success'],
  [1, ['--account', 'nobody@moreno.example'], 'There is no account'],
])('what cannot be searched for is said (%i %j)', async (code, options, words) => {
  expect(await run('audit', 'list', ...options)).toMatchObject({ code, stderr: expect.stringContaining(words) });
});

test('export takes in what waits, and verify vouches for it until somebody touches it', async () => {
  const { stdout } = await run('audit', 'export');
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.every(({ position, hash }, index) => position === index + 1 && hash.length === 43)).toBe(true);

  const { head, ...verified } = await json<{ head: { position: number; hash: string } }>('audit', 'verify');
  expect(verified).toEqual({ intact: true, checked: lines.length, waiting: { count: 0 }, uncovered: 0, begin: 0 });
  const end = `${head.position}:${head.hash}`;
  expect(await run('audit', 'verify', '--expect', end)).toMatchObject({
    code: 0,
    stdout: `${lines.length} events are as they were written.\nThe chain ends at ${end}\n`,
  });

  await database.db.execute(sql`alter table audit_events disable trigger user`);
  await database.db.execute(sql`update audit_events set address = '192.0.2.8' where position = 1`);
  await database.db.execute(sql`alter table audit_events enable trigger user`);
  expect(await run('audit', 'verify')).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('Up to the break 0 events'),
    stderr: expect.stringContaining('event 1 of the chain, or the hash of the one before, was changed'),
  });
  const broken = await run('audit', 'verify', '--json');
  expect([broken.code, JSON.parse(broken.stdout)]).toMatchObject([
    1,
    { intact: false, broken: { reason: 'event-changed', position: 1 } },
  ]);

  expect(await json('audit', 'restart', '--yes')).toEqual({ begin: lines.length });
  expect(await lastEvent()).toMatchObject({ event: 'audit-log.restarted', details: me });
  await run('audit', 'export');
  expect(await json('audit', 'verify')).toMatchObject({ intact: true, checked: 1, uncovered: lines.length });
});

test('suspend, reinstate, expire-password and sign-out say what they did, and so does the log', async () => {
  const reason = ['--reason', 'ticket 4711'];
  const suspended = { sub: ada, suspended: true, sessions: 0, logouts: 0 };
  expect(await json('accounts', 'suspend', 'ada@moreno.example', ...reason)).toEqual(suspended);
  expect(await lastEvent()).toEqual({
    event: 'account.suspended',
    account_id: ada,
    details: { reason: 'ticket 4711', sessions: 0, logouts: 0, ...me },
  });
  expect(await run('accounts', 'suspend', ada)).toMatchObject({
    code: 1,
    stderr: `error: ${ada} was suspended before.\n`,
  });
  expect(await json('accounts', 'show', ada)).toMatchObject({ suspended_at: expect.any(Number) });

  expect(await json('accounts', 'reinstate', ada)).toEqual({ sub: ada, suspended: false });
  expect(await lastEvent()).toEqual({ event: 'account.reinstated', account_id: ada, details: me });
  expect(await run('accounts', 'reinstate', ada)).toMatchObject({ code: 1 });

  expect(await json('accounts', 'expire-password', ada, ...reason)).toEqual({ sub: ada, password_expired: true });
  expect(await lastEvent()).toMatchObject({ event: 'password.expired', details: { reason: 'ticket 4711', ...me } });

  expect(await json('accounts', 'sign-out', ada)).toEqual({ sub: ada, sessions: 0, logouts: 0 });
  expect(await lastEvent()).toMatchObject({ event: 'sessions.ended', details: me });
});

test('an account without a password has none that could expire, and nobody is nobody', async () => {
  const made = await createAccount(database.db, { email: 'key@moreno.example', name: 'Eve', passwordHash: null });
  const sub = made.outcome === 'created' ? made.account.id : '';
  expect(await run('accounts', 'expire-password', sub)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no password'),
  });
  for (const command of ['suspend', 'reinstate', 'expire-password', 'sign-out']) {
    expect(await run('accounts', command, 'nobody@moreno.example')).toMatchObject({ code: 1 });
  }
  const badReason = await run('accounts', 'suspend', ada, '--reason', 'two\nlines');
  expect([badReason.code, badReason.stderr]).toEqual([2, expect.stringContaining('on one line')]);
});

test('what the command line does to clients, APIs, tokens and keys says who typed it', async () => {
  const api = 'https://invoices.example';
  const { client_id: client } = await json<{ client_id: string }>(
    'clients',
    'create',
    '--name',
    'W',
    '--grant-type',
    'client_credentials',
  );
  await json('clients', 'update', client, '--name', 'V');
  await json('apis', 'create', api, '--name', 'Invoices', '--scope', 'read=See them');
  await json('apis', 'allow', client, api, '--scope', 'read');
  await json('apis', 'disallow', client, api);
  await json('apis', 'delete', api, '--yes');
  await json('clients', 'delete', client, '--yes');
  const { rows } = await database.db.execute<{ event: string; details: object }>(
    sql`select event, details from audit_events where event ~ '^(client|api)\\.' order by id`,
  );
  expect(rows.map(({ event }) => event)).toEqual([
    ...['client.registered', 'client.updated', 'api.created', 'api.access-changed', 'api.access-changed'],
    ...['api.deleted', 'client.deleted'],
  ]);
  for (const { details } of rows) expect(details).toMatchObject(me);
});

/** `latchkey backup` and `latchkey restore`: what is in the file, what comes back, and what is refused. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Decrypter, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { verifyChain } from '../../src/audit/verify.ts';
import { describeTables, inCopyTransaction, tableNames } from '../../src/db/copy-tables.ts';
import { openDatabase } from '../../src/db/database.ts';
import { allMigrations, applyMigrations, pendingMigrations } from '../../src/db/migrations.ts';
import { oidcGrants, users } from '../../src/db/schema.ts';
import { singleConnection } from '../../src/db/single-connection.ts';
import { loadAuditKey } from '../../src/keys/audit-key.ts';
import { writeBackup } from '../../src/ops/backup-file.ts';
import { countTables } from '../../src/ops/load.ts';
import { startAppForTest } from '../support/app.ts';
import { type Outcome, runCommandLine } from '../support/command-line.ts';
import { createTestDatabase, queryDatabase, type TestDatabase } from '../support/database.ts';
import { copyFaults, duringCopy } from '../support/during-copy.ts';
import { useAndStop } from '../support/filled-installation.ts';
import { discover, registerAccount } from '../support/relying-party.ts';

let folder: string;
let source: TestDatabase;
let used: Awaited<ReturnType<typeof useAndStop>>;
let backup: string;
let identity: string;
let recipient: string;
let made: Record<string, unknown>;

/** Longer than one packet, with everything that COPY writes in another way. */
const awkward = `tab\there, backslash \\ and \\. end\nline\r ${'é'.repeat(30_000)}`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-backup-'));
  source = await createTestDatabase();
  used = await useAndStop(source, async ({ database: { db } }) => {
    await db.update(users).set({ website: awkward, phoneNumberVerified: true });
    await db.execute(
      sql`insert into client_logos select client_id, 'https://logo.example', 'image/png', '\\x00ff0a5c0d'::bytea, now() from oidc_clients`,
    );
  });
  const secret = await generateX25519Identity();
  identity = join(folder, 'identity');
  writeFileSync(identity, `# made for this test\n${secret}\n`);
  recipient = await identityToRecipient(secret);
  backup = join(folder, 'latchkey.backup');
  made = await json(source, 'backup', '--to', backup, '--recipient', recipient);
});
afterAll(async () => {
  await source.drop();
  rmSync(folder, { recursive: true });
});

const run = (database: { url: string }, words: string[], env = {}): Promise<Outcome> =>
  runCommandLine({ env: { ...used.env, DATABASE_URL: database.url, ...env }, folder }, words);

async function json(database: { url: string }, ...words: string[]) {
  const outcome = await run(database, [...words, '--json']);
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  return JSON.parse(outcome.stdout);
}

const refused = (sentence: RegExp): Outcome => ({ code: 1, stdout: '', stderr: expect.stringMatching(sentence) });

async function emptyDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  onTestFinished(database.drop);
  return database;
}

/** Every row of every table. */
async function contents(database: { url: string }, names = tableNames): Promise<Record<string, unknown[]>> {
  const tables: Record<string, unknown[]> = {};
  for (const name of names) {
    const rows = await queryDatabase(database.url, `select to_jsonb(t)::text as row from ${name} t order by 1`);
    tables[name] = rows.map(({ row }) => row);
  }
  return tables;
}

const restore = ['restore', '--from'];

describe('the file', () => {
  test('says what it holds, is only its owner’s, and an audit event tells of it with its SHA-256', async () => {
    expect(made).toMatchObject({
      file: backup,
      bytes: statSync(backup).size,
      sha256: createHash('sha256').update(readFileSync(backup)).digest('hex'),
      issuer: `${used.env.OIDC_ISSUER}/oidc`,
      signing_keys: expect.arrayContaining([expect.any(String)]),
      secrets: [],
    });
    expect(Object.keys(made.tables as object).sort()).toEqual(tableNames);
    expect(made.tables).toMatchObject({ users: 1, consents: 1, client_logos: expect.any(Number) });
    expect(statSync(backup).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).filter((name) => name.includes('.part'))).toEqual([]);
    const events = await queryDatabase(source.url, `select details from audit_events where event = 'backup.created'`);
    expect(events).toEqual([
      { details: expect.objectContaining({ file: 'latchkey.backup', sha256: made.sha256, by: 'cli' }) },
    ]);
  });

  test('every table of the database is in it', async () => {
    const rows = await queryDatabase(
      source.url,
      `select tablename from pg_tables where schemaname = 'public' order by tablename collate "C"`,
    );
    expect(Object.keys(made.tables as object).sort()).toEqual(rows.map(({ tablename }) => tablename));
  });

  test('opens with age, gunzip and tar, without Latchkey', async () => {
    const decrypter = new Decrypter();
    decrypter.addIdentity(readFileSync(identity, 'utf8').split('\n')[1] ?? '');
    const plain = join(folder, 'plain.tar.gz');
    writeFileSync(plain, await decrypter.decrypt(readFileSync(backup)));
    const names = execFileSync('tar', ['tzf', plain], { encoding: 'utf8' }).trim().split('\n');
    expect([names[0], names.at(-1)]).toEqual(['manifest.json', 'summary.json']);
    const users = execFileSync('tar', ['xzOf', plain, 'tables/users/000001.copy'], { encoding: 'utf8' });
    expect(users).toContain(used.account.email);
  });

  test('verify reads it again; a file that is there is not written over', async () => {
    expect(await json(source, 'backup', 'verify', backup, '--identity', identity)).toEqual(made);
    expect(await run(source, ['backup', '--to', backup, '--recipient', recipient])).toEqual(
      refused(/There is a file .* already\.$/m),
    );
  });

  // scrypt takes a second each time, and more where others work.
  test('with a passphrase, from the environment or a file, it opens with that one only', {
    timeout: 120_000,
  }, async () => {
    const file = join(folder, 'phrase.backup');
    const phrase = join(folder, 'phrase');
    writeFileSync(phrase, 'correct horse battery\nsecond line\n');
    const given = { BACKUP_PASSPHRASE: 'correct horse battery' };
    expect((await run(source, ['backup', '--to', file], given)).code).toBe(0);
    expect((await run(source, ['backup', 'verify', file, '--passphrase-file', phrase])).code).toBe(0);
    writeFileSync(phrase, 'correct horse staple\n');
    expect(await run(source, ['backup', 'verify', file, '--passphrase-file', phrase])).toEqual(
      refused(/does not open: .*passphrase/),
    );
    expect(await run(source, ['backup', '--to', `${file}2`])).toEqual(refused(/No passphrase: give --passphrase-file/));
    writeFileSync(phrase, 'short\n');
    expect(await run(source, ['backup', '--to', `${file}2`, '--passphrase-file', phrase])).toEqual(
      refused(/less than 12/),
    );
  });

  test('what is written while it is made is in no table of it', async () => {
    const file = join(folder, 'busy.backup');
    const app = await startAppForTest({ database: source });
    const backingUp = json(source, 'backup', '--to', file, '--recipient', recipient);
    await Promise.all(Array.from({ length: 10 }, () => registerAccount(app)));
    const { tables } = await backingUp;
    const target = await emptyDatabase();
    expect((await json(target, ...restore, file, '--identity', identity, '--keep-sessions')).tables).toEqual(tables);
  });
});

describe('restored', () => {
  test('with --keep-sessions every row is the same, ids go on behind the last, and the audit chain verifies', async () => {
    const target = await emptyDatabase();
    const before = await contents(source);
    const file = join(folder, 'same.backup');
    await json(source, 'backup', '--to', file, '--recipient', recipient);
    const restored = await json(target, ...restore, file, '--identity', identity, '--keep-sessions');
    expect(restored).toMatchObject({
      migrated: 0,
      sessions: 'kept',
      audit_intact: true,
      signing_keys: made.signing_keys,
    });
    const added = (await queryDatabase(target.url, 'select event, id from audit_events order by id desc limit 1'))[0];
    expect(added?.event).toBe('backup.restored');
    const { db, close } = openDatabase(target.url, { max: 1 });
    const { checked, broken } = await verifyChain(db, await loadAuditKey(db, used.encryption)).finally(close);
    expect([checked > 3, broken]).toEqual([true, undefined]);
    const after = await contents(target);
    const others = tableNames.filter((name) => name !== 'audit_events');
    for (const name of others) expect(after[name], name).toEqual(before[name]);
    expect(after.audit_events).toEqual(expect.arrayContaining(before.audit_events ?? []));
  });

  test('with --keep-sessions who was signed in still is, and a refresh token works', async () => {
    const target = await emptyDatabase();
    await json(target, ...restore, backup, '--identity', identity, '--keep-sessions');
    const app = await startAppForTest({ database: target });
    const page = await fetch(`${app.origin}/account`, {
      headers: { cookie: cookieOf(used.person) },
      redirect: 'manual',
    });
    expect(page.status).toBe(200);
    const rp = await discover(app, used.registration);
    const tokens = await rp.refresh(used.refreshToken);
    expect(tokens.claims()?.sub).toBe(used.account.sub);
  });

  test('without, nobody is signed in and no token of before is good; accounts, clients and consents are there', async () => {
    const target = await emptyDatabase();
    const restored = await json(target, ...restore, backup, '--identity', identity);
    expect(restored).toMatchObject({ sessions: 'ended', tables: expect.objectContaining({ users: 1, consents: 1 }) });
    expect(restored.tables).not.toHaveProperty('oidc_grants');
    const app = await startAppForTest({ database: target });
    const page = await fetch(`${app.origin}/account`, {
      headers: { cookie: cookieOf(used.person) },
      redirect: 'manual',
    });
    expect(page.status).toBe(303);
    const rp = await discover(app, used.registration);
    await expect(rp.refresh(used.refreshToken)).rejects.toMatchObject({ error: 'invalid_grant' });
    expect(await app.database.db.select().from(oidcGrants).where(eq(oidcGrants.model, 'RefreshToken'))).toEqual([]);
  });

  test('a backup from before a migration gets the tables of then, and is migrated on', async () => {
    const older = await emptyDatabase();
    const file = join(folder, 'older.backup');
    await writeOlderBackup(older, file);
    const target = await emptyDatabase();
    const restored = await json(target, ...restore, file, '--identity', identity);
    expect(restored).toMatchObject({ migrated: allMigrations().length - 1, tables: { users: 1 } });
    expect(await queryDatabase(target.url, 'select name, administrator_since from users')).toEqual([
      { name: 'Ada', administrator_since: null },
    ]);
    expect(await pendingIn(target)).toBe(0);
  });

  test('--replace deletes what was there, all or nothing', async () => {
    const target = await emptyDatabase();
    await useAndStop(target);
    const before = await contents(target);
    expect(await run(target, [...restore, backup, '--identity', identity])).toEqual(refused(/is not empty/));
    const damaged = copyOf(backup, 'damaged-replace', (bytes) => bytes.fill(0, bytes.length - 20, bytes.length - 10));
    expect(await run(target, [...restore, damaged, '--identity', identity, '--replace', '--yes'])).toEqual(
      refused(/damaged/),
    );
    expect(await contents(target)).toEqual(before);
    await json(target, ...restore, backup, '--identity', identity, '--replace', '--yes');
    expect(await queryDatabase(target.url, 'select email from users')).toEqual([{ email: used.account.email }]);
  });
});

describe('nothing is changed, and one line says why', () => {
  let target: TestDatabase;
  beforeAll(async () => {
    target = await createTestDatabase();
  });
  afterAll(() => target.drop());

  async function expectRefused(file: string, sentence: RegExp, { words = [] as string[], env = {} } = {}) {
    const outcome = await run(target, [...restore, file, '--identity', identity, ...words], env);
    expect(outcome).toEqual(refused(sentence));
    expect(outcome.stderr.trim().split('\n')).toHaveLength(1);
    expect(
      await queryDatabase(
        target.url,
        'select (select count(*) from users)::int + (select count(*) from signing_keys)::int as rows',
      ),
    ).toEqual([{ rows: 0 }]);
  }

  test.for([
    ['the version line', 5],
    ['the recipients', 60],
    ['the seal of the header', 180],
    ['the first bytes of the data', 220],
    ['the middle', 0.5],
    ['the last byte', -1],
  ] as const)('tampered with: %s', async ([, at]) => {
    const file = copyOf(backup, 'tampered', (bytes) => {
      const index = at < 0 ? bytes.length + at : at < 1 ? Math.floor(bytes.length * at) : at;
      bytes[index] = (bytes[index] ?? 0) ^ 1;
    });
    await expectRefused(file, /^error: The (backup|file) /);
  });

  test.for([0, 10, 200, 0.3, 0.9, -1])('cut off at %d', async (at) => {
    const file = copyOf(backup, 'cut', () => {});
    const size = statSync(file).size;
    truncateSync(file, at < 0 ? size + at : at < 1 ? Math.floor(size * at) : at);
    await expectRefused(file, /^error: The (backup|file) /);
  });

  test('bytes behind the end', async () => {
    const file = copyOf(backup, 'longer', () => {});
    writeFileSync(file, randomBytes(70_000), { flag: 'a' });
    await expectRefused(file, /^error: The backup is damaged/);
  });

  test('another identity, another encryption key, no such file', async () => {
    const other = join(folder, 'other-identity');
    writeFileSync(other, await generateX25519Identity());
    expect(await run(target, [...restore, backup, '--identity', other])).toEqual(refused(/does not open/));
    const env = { OIDC_ENCRYPTION_KEY: randomBytes(32).toString('base64') };
    await expectRefused(backup, /OIDC_ENCRYPTION_KEY is not the one they were sealed with/, { env });
    await expectRefused(join(folder, 'gone.backup'), /ENOENT/);
  });

  test('a backup of a newer version', async () => {
    const newer = await emptyDatabase();
    await queryDatabase(
      newer.url,
      `insert into drizzle.__drizzle_migrations (hash, created_at) values ('future', 9999999999999)`,
    );
    const file = join(folder, 'newer.backup');
    await json(newer, 'backup', '--to', file, '--recipient', recipient);
    await expectRefused(file, /made by a newer version of Latchkey/);
  });

  test('a database with somebody else’s tables, also with --replace', async () => {
    const shared = await emptyDatabase();
    await queryDatabase(shared.url, 'create table orders (id int)');
    const outcome = await run(shared, [...restore, backup, '--identity', identity, '--replace', '--yes']);
    expect(outcome).toEqual(refused(/has tables that are not Latchkey's \(orders\)/));
    expect(await queryDatabase(shared.url, 'select * from orders')).toEqual([]);
  });

  test('a server that runs on the database', async () => {
    const busy = await emptyDatabase();
    await startAppForTest({ database: busy });
    const outcome = await run(busy, [...restore, backup, '--identity', identity, '--replace', '--yes']);
    expect(outcome).toEqual(refused(/A Latchkey server runs on the database: stop it first/));
  });
});

describe('killed in the midst of it (kill -9)', () => {
  /** The command as a process of its own, once it waits for the lock that `hold` takes. */
  async function killWhileItWaits(database: { url: string }, hold: string, words: string[]): Promise<void> {
    const holder = singleConnection(database.url, 'latchkey-test', 0);
    await holder.connect();
    try {
      await holder.query(`begin; ${hold}`);
      const command = spawn(process.execPath, [join(import.meta.dirname, '../../src/cli/latchkey.ts'), ...words], {
        cwd: folder,
        env: { PATH: process.env.PATH, ...used.env, DATABASE_URL: database.url },
        stdio: 'ignore',
      });
      const ended = once(command, 'exit');
      const waiting = `select 1 from pg_stat_activity where application_name = 'latchkey-copy' and wait_event_type = 'Lock' and datname = current_database()`;
      await expect.poll(() => queryDatabase(database.url, waiting), { timeout: 25_000 }).toHaveLength(1);
      command.kill('SIGKILL');
      await ended;
      await holder.query('rollback');
      await expect.poll(() => queryDatabase(database.url, gone), { timeout: 20_000 }).toEqual([]);
    } finally {
      await holder.end();
    }
  }
  const gone = `select 1 from pg_stat_activity where application_name = 'latchkey-copy' and datname = current_database()`;

  test('a backup has no file of its name, and the next one is made', { timeout: 60_000 }, async () => {
    const file = join(folder, 'killed.backup');
    const words = ['backup', '--to', file, '--recipient', recipient];
    await killWhileItWaits(source, 'lock table users', words);
    expect(existsSync(file)).toBe(false);
    expect((await run(source, words)).code).toBe(0);
  });

  test('a restore has put in nothing, and the next one does', { timeout: 60_000 }, async () => {
    const target = await emptyDatabase();
    await duringCopy(target, copyFaults.waits);
    const words = [...restore, backup, '--identity', identity];
    await killWhileItWaits(target, 'select pg_advisory_xact_lock(42)', words);
    expect(await queryDatabase(target.url, 'select * from users')).toEqual([]);
    expect((await run(target, words)).code).toBe(0);
  });
});

test.for(['is full', 'goes away'] as const)(
  'when the database %s during a restore, nothing is put in',
  async (fault) => {
    const target = await emptyDatabase();
    await duringCopy(target, copyFaults[fault]);
    expect(await run(target, [...restore, backup, '--identity', identity])).toMatchObject({ code: 1, stdout: '' });
    expect(await queryDatabase(target.url, 'select * from users')).toEqual([]);
  },
);

function copyOf(file: string, name: string, change: (bytes: Buffer) => void): string {
  const bytes = readFileSync(file);
  change(bytes);
  const copy = join(folder, name);
  writeFileSync(copy, bytes);
  return copy;
}

function cookieOf(person: (typeof used)['person']): string {
  return [...person.jar].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');
}

/** As the first version would have written it, with one account. */
async function writeOlderBackup(database: { url: string }, path: string): Promise<void> {
  await queryDatabase(database.url, 'drop schema public, drizzle cascade; create schema public');
  const [first] = allMigrations();
  await inCopyTransaction(database.url, 'change', async ({ db }) => {
    await applyMigrations(db, first ? [first] : []);
    await db.execute(
      sql`insert into users (id, email, email_normalized, name) values ('u_1', 'ada@a.example', 'ada@a.example', 'Ada')`,
    );
  });
  const found = await queryDatabase(database.url, `select tablename from pg_tables where schemaname = 'public'`);
  const handle = await open(path, 'wx');
  await inCopyTransaction(database.url, 'snapshot', async (tx) => {
    const tables = await describeTables(
      tx.db,
      found.map(({ tablename }) => String(tablename)),
    );
    const facts = { format: 1, latchkey: '0.0.1', postgresql: '15', issuer: 'https://id.example/oidc' } as const;
    const manifest = { ...facts, taken_at: '2026-01-01T00:00:00Z', migrations: [first?.when ?? 0], signing_keys: [] };
    const summary = async () => ({ tables: await countTables(tx, tables), sequences: [] });
    const rows = (name: string) => tx.read(tables.find((table) => table.name === name) ?? expect.fail());
    await writeBackup(
      handle,
      { recipients: [recipient] },
      { manifest: { ...manifest, secrets: {}, tables }, rows, summary },
    );
  });
  await handle.close();
}

async function pendingIn(database: { url: string }): Promise<number> {
  const { db, close } = openDatabase(database.url, { max: 1 });
  return pendingMigrations(db).finally(close);
}

/** `latchkey promote`: an installation moves to another database, and nothing that was acknowledged gets lost. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/database.ts';
import { findMove, startMove } from '../../src/db/move.ts';
import { startApp, startAppForTest, testSecrets } from '../support/app.ts';
import { type Outcome, runCommandLine } from '../support/command-line.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { cloneDatabase, createTestDatabase, queryDatabase, type TestDatabase } from '../support/database.ts';
import { copyFaults, duringCopy } from '../support/during-copy.ts';
import { signInSomebody, useAndStop } from '../support/filled-installation.ts';
import { createPerson, readText } from '../support/person.ts';
import { discover, registerAccount } from '../support/relying-party.ts';
import { launchServer, startServer } from '../support/server.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-promote-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const refused = (sentence: RegExp): Outcome => ({ code: 1, stdout: '', stderr: expect.stringMatching(sentence) });

async function emptyDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  onTestFinished(database.drop);
  return database;
}

async function moveOf(database: { url: string }) {
  const { db, close } = openDatabase(database.url, { max: 1 });
  return findMove(db).finally(close);
}

describe('the embedded database of a running server', () => {
  test('moves to a server PostgreSQL: sessions, tokens and keys go on there, and here nothing changes any more', {
    timeout: 120_000,
  }, async () => {
    const dataDir = await newDataFolder();
    onTestFinished(() => removeDataFolder(dataDir));
    const target = await emptyDatabase();
    const before = await startServer({ env: { DATA_DIR: dataDir } });
    const { account, registration, person, refreshToken } = await signInSomebody(before);
    const jwks = await (await fetch(`${before.issuer}/jwks`)).json();

    const env = { DATA_DIR: dataDir, OIDC_ISSUER: before.origin };
    const { code, stdout, stderr } = await runCommandLine({ env, folder }, ['promote', '--to', target.url, '--yes']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const file = join(dataDir, 'promoted.env');
    expect(stdout).toContain(file);
    expect(stdout).not.toContain(readFileSync(join(dataDir, 'encryption-key'), 'utf8').trim());
    expect(statSync(file).mode & 0o777).toBe(0o600);

    const refusedHere = await fetch(`${before.origin}/auth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: 'late@moreno.example', password: 'correct horse battery', name: 'Late' }),
    });
    expect(refusedHere.status).toBe(503);
    expect((await fetch(`${before.issuer}/jwks`)).status).toBe(200);
    await before.stop();

    const on = parseEnv(readFileSync(file, 'utf8')) as Record<string, string>;
    expect(Object.keys(on)).toEqual(['DATABASE_URL', 'OIDC_COOKIE_SECRET', 'OIDC_ENCRYPTION_KEY']);
    const after = await startServer({ env: { ...on, DATA_DIR: join(folder, 'none') }, port: before.port });
    expect(await (await fetch(`${after.issuer}/jwks`)).json()).toEqual(jwks);
    expect(readText((await person.open('/account')).html)).toContain(account.email);
    const tokens = await (await discover(after, registration)).refresh(refreshToken);
    expect(tokens.claims()?.sub).toBe(account.sub);
    await after.stop();

    const old = await launchServer({ env: { DATA_DIR: dataDir } });
    expect((await old.ended).code).toBe(1);
    const { host, pathname } = new URL(target.url);
    expect(old.stderr()).toBe(
      `This installation was moved to ${host}${pathname} on ${new Date().toISOString().slice(0, 10)}: set DATABASE_URL to that database.\n`,
    );
    // As it was typed before, and safe.
    const again = await runCommandLine({ env, folder }, ['promote', '--to', target.url, '--yes', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ copy: 'found', env_file: file });
  });
});

describe('between two databases', () => {
  const promote = (source: TestDatabase, target: { url: string }, ...words: string[]) =>
    runCommandLine({ env: { ...testSecrets, DATABASE_URL: source.url }, folder }, [
      ...['promote', '--to', target.url, '--env-file', join(folder, new URL(target.url).pathname)],
      ...words,
    ]);

  let kept: TestDatabase;
  let used: Awaited<ReturnType<typeof useAndStop>>;
  beforeAll(async () => {
    kept = await createTestDatabase();
    used = await useAndStop(kept);
  });
  afterAll(() => kept.drop());

  async function usedDatabase(): Promise<TestDatabase> {
    const database = await cloneDatabase(kept);
    onTestFinished(database.drop);
    return database;
  }

  test('everybody whose registration was acknowledged while it went on is there', async () => {
    const [source, target] = [await emptyDatabase(), await emptyDatabase()];
    const app = await startApp({ database: source, expectErrors: true });
    const acknowledged: string[] = [];
    let going = true;
    const registering = async () => {
      while (going) {
        const account = await registerAccount(app).catch(() => undefined);
        if (account) acknowledged.push(account.email);
        else going = false;
      }
    };
    const people = [registering(), registering(), registering()];
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(5);
    const outcome = await promote(source, target, '--json');
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    await Promise.all(people);
    await app.close();
    const there = (await queryDatabase(target.url, 'select email from users')).map(({ email }) => email);
    expect(there.sort()).toEqual(acknowledged.sort());
    const { signing_keys } = JSON.parse(outcome.stdout);
    expect((await queryDatabase(source.url, 'select kid from signing_keys')).map(({ kid }) => kid).sort()).toEqual(
      signing_keys,
    );
  });

  test('killed before the copy: run again it finishes', async () => {
    const [source, target] = [await usedDatabase(), await emptyDatabase()];
    const { host, pathname } = new URL(target.url);
    await startMove(source.url, host + pathname, async () => {});
    const env = { ...testSecrets, DATABASE_URL: source.url };
    const server = await launchServer({ env });
    expect((await server.ended).code).toBe(1);
    expect(server.stderr()).toMatch(
      /^This installation is being moved to .*: run promote again .*, or promote --cancel to stay here\.\n$/,
    );
    expect(JSON.parse((await promote(source, target, '--json')).stdout)).toMatchObject({ copy: 'made' });
    expect(await moveOf(source)).toMatchObject({ state: 'moved' });
  });

  test('killed after the copy: run again it finds the copy, unless that is another', async () => {
    const [source, target] = [await usedDatabase(), await emptyDatabase()];
    expect((await promote(source, target)).code).toBe(0);
    const move = JSON.stringify({ ...(await moveOf(source)), state: 'moving' });
    await queryDatabase(source.url, `comment on function latchkey_moved() is '${move}'`);
    await queryDatabase(target.url, `update users set name = 'Somebody else'`);
    expect(await promote(source, target)).toEqual(refused(/holds another installation \(its table users differs\)/));
    expect(await promote(source, target, '--cancel')).toEqual(refused(/holds a copy, and two must never be in use/));
    await queryDatabase(target.url, `update users set name = 'Ada Moreno'`);
    expect(JSON.parse((await promote(source, target, '--json')).stdout)).toMatchObject({ copy: 'found' });
    expect(await moveOf(source)).toMatchObject({ state: 'moved' });
  });

  test('cancelled, the installation goes on where it is, and the audit log tells of both', async () => {
    const [source, target] = [await usedDatabase(), await emptyDatabase()];
    const { host, pathname } = new URL(target.url);
    await startMove(source.url, host + pathname, async () => {});
    expect(await promote(source, { url: `${target.url}_other` })).toEqual(
      refused(/is being moved to .*promote --cancel/),
    );
    expect(await promote(source, target, '--cancel', '--json')).toMatchObject({
      code: 0,
      stdout: '{\n  "cancelled": true\n}\n',
    });
    const app = await startAppForTest({ database: source });
    await registerAccount(app);
    expect(await promote(source, target, '--cancel')).toEqual(refused(/does not move anywhere/));
  });

  test.for([
    ['holds an installation', /is not empty/, (target: TestDatabase) => useAndStop(target)],
    [
      'holds somebody else’s tables',
      /not Latchkey's \(orders\)/,
      (target: TestDatabase) => queryDatabase(target.url, 'create table orders (id int)'),
    ],
    ['is not there', /Nothing was moved\. The other database says: /, (target: TestDatabase) => target.drop()],
  ] as const)('a target that %s is refused before anything is changed here', async ([, sentence, spoil]) => {
    const [source, target] = [await usedDatabase(), await emptyDatabase()];
    await spoil(target);
    expect(await promote(source, target)).toEqual(refused(sentence));
    expect(await moveOf(source)).toBeUndefined();
  });

  test.for(['is full', 'goes away'] as const)(
    'when the target %s in the midst of it, all here is as before',
    async (fault) => {
      const [source, target] = [await usedDatabase(), await emptyDatabase()];
      await duringCopy(target, copyFaults[fault], 2);
      expect(await promote(source, target)).toEqual(
        refused(/^error: Nothing was moved\. The other database says: .+\.$/m),
      );
      expect(await moveOf(source)).toBeUndefined();
      expect(await queryDatabase(target.url, 'select * from users')).toEqual([]);
      const app = await startAppForTest({ database: source });
      await registerAccount(app);
      const events = await queryDatabase(
        source.url,
        `select event from audit_events where event like 'move.%' order by id`,
      );
      expect(events.map(({ event }) => event)).toEqual(['move.started', 'move.cancelled']);
    },
  );

  test('settings of somebody’s own are not written over', async () => {
    const [source, target] = [await usedDatabase(), await emptyDatabase()];
    const file = join(folder, 'own.env');
    writeFileSync(file, 'BRAND_NAME=Ours\n');
    const env = { ...testSecrets, DATABASE_URL: source.url };
    const outcome = await runCommandLine({ env, folder }, ['promote', '--to', target.url, '--env-file', file]);
    expect(outcome).toEqual(refused(/There is a file .*own\.env already: name another with --env-file/));
    expect(await moveOf(source)).toBeUndefined();
  });

  test('who was signed in stays so', async () => {
    const [source, target] = [await usedDatabase(), await emptyDatabase()];
    expect((await promote(source, target)).code).toBe(0);
    const app = await startAppForTest({ database: target });
    const same = createPerson(app.origin);
    for (const [key, cookie] of used.person.jar) same.jar.set(key, cookie);
    expect(readText((await same.open('/account')).html)).toContain(used.account.email);
  });
});

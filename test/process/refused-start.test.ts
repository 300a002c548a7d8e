/** What an operator must mend is said in one line, and nothing runs afterwards. */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDatabase } from '../../src/db/database.ts';
import { DatabaseError, migrateWhenReady } from '../../src/db/migrate.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { loadSigningKeys } from '../../src/keys/signing-keys.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { freePort, listen } from '../support/listen.ts';
import { launchServer, sharedSecrets } from '../support/server.ts';

let database: TestDatabase;
let foreign: TestDatabase;
let folder: string;

beforeAll(async () => {
  [database, foreign] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  folder = await newDataFolder();
});
afterAll(async () => {
  await Promise.all([database.drop(), foreign.drop()]);
  await removeDataFolder(folder);
});

type Refusal = { env: Record<string, string>; port?: number; says: RegExp[] };

const refusals: Record<string, () => Promise<Refusal> | Refusal> = {
  'a port that is taken': async () => {
    return {
      env: { DATABASE_URL: database.url },
      port: await listen(createServer().unref()),
      says: [/^Cannot listen on 127\.0\.0\.1:\d+: something else is listening there\. Set PORT or HOST\.$/],
    };
  },
  'mistakes in the configuration, all of them at once': () => ({
    env: { DATABASE_URL: 'mysql://u:hunter2@db/x', BCRYPT_ROUNDS: '9', OIDC_COOKIE_SECRET: 'hunter2' },
    says: [/^DATABASE_URL: expected postgres:/, /^OIDC_COOKIE_SECRET: expected /, /^BCRYPT_ROUNDS: expected /],
  }),
  'an encryption key that is not the one of the database': async () => {
    const { db, close } = openDatabase(foreign.url);
    await loadSigningKeys(db, createEncryption([randomBytes(32)]), undefined);
    await close();
    return { env: { DATABASE_URL: foreign.url }, says: [/OIDC_ENCRYPTION_KEY/] };
  },
  'a database that does not exist': () => ({
    env: { DATABASE_URL: `${database.url}_gone` },
    says: [/^The database cannot be used \(database ".*_gone" does not exist\): check DATABASE_URL\.$/],
  }),
  'a user whom the database does not know': () => {
    const url = new URL(database.url);
    url.username = 'nobody-here';
    url.password = 'hunter2';
    return {
      env: { DATABASE_URL: url.href },
      says: [/^The database cannot be used \(.*nobody-here.*\): check DATABASE_URL\.$/],
    };
  },
  'a certificate for the database that is not there': () => ({
    env: { DATABASE_URL: `${database.url}?sslmode=verify-full&sslrootcert=${join(folder, 'no.pem')}` },
    says: [/^The database cannot be used \(ENOENT.*no\.pem'\): check DATABASE_URL\.$/],
  }),
  'a data folder that cannot hold the secrets': async () => {
    await writeFile(join(folder, 'file'), '');
    return {
      env: { DATA_DIR: join(folder, 'file'), OIDC_COOKIE_SECRET: '', OIDC_ENCRYPTION_KEY: '' },
      says: [/^DATA_DIR: expected a folder in which .* can be read or made/],
    };
  },
  'a data folder that cannot hold the database': async () => {
    await mkdir(join(folder, 'data'));
    await writeFile(join(folder, 'data/postgres'), '');
    return { env: { DATA_DIR: join(folder, 'data') }, says: [/^The .*folder .* set DATA_DIR .*DATABASE_URL/] };
  },
};

test.concurrent.for(Object.entries(refusals))('%s', async ([, prepare]) => {
  const { env, port, says } = await prepare();
  const server = await launchServer({ env: { ...sharedSecrets, ...env }, ...(port && { port }) });
  expect(await server.ended).toEqual({ code: 1, signal: null });
  const lines = server.stderr().trimEnd().split('\n');
  for (const [index, pattern] of says.entries()) expect(lines[index]).toMatch(pattern);
  expect(lines).toHaveLength(says.length);
  expect(server.stdout()).not.toContain('Latchkey is ready.');
  expect(server.stdout() + server.stderr()).not.toMatch(/hunter2|^ +at /m);
});

test('a database that never answers is given up in the end', async () => {
  const waits: string[] = [];
  const url = `postgres://latchkey:hunter2@localhost:${await freePort()}/latchkey`;
  const start = migrateWhenReady(url, { onWait: (reason) => waits.push(reason), patienceMs: 100 });
  await expect(start).rejects.toThrow(DatabaseError);
  await expect(start).rejects.toThrow(
    /^The database cannot be used \(connect ECONNREFUSED .*\): check DATABASE_URL\.$/,
  );
  expect(waits).toEqual([expect.stringMatching(/^connect ECONNREFUSED /)]);
});

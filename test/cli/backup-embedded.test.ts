/** Backup and restore where the database is embedded: the secrets of DATA_DIR go along. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEmbedded } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import { testSecrets } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { useAndStop } from '../support/filled-installation.ts';
import { startServer } from '../support/server.ts';

const secrets = {
  'cookie-secret': testSecrets.OIDC_COOKIE_SECRET,
  'encryption-key': testSecrets.OIDC_ENCRYPTION_KEY,
};
const silent = { info: () => {}, warn: () => {} };

let old: string;
let other: string;
let backup: string;
let identity: string;
let recipient: string;

beforeAll(async () => {
  [old, other] = [await newDataFolder(), await newDataFolder()];
  backup = join(old, 'latchkey.backup');
  const secret = await generateX25519Identity();
  identity = join(other, 'identity');
  writeFileSync(identity, secret);
  recipient = await identityToRecipient(secret);
});
afterAll(async () => {
  await removeDataFolder(old);
  await removeDataFolder(other);
});

const run = (dataDir: string, ...words: string[]) =>
  runCommandLine({ env: { DATA_DIR: dataDir }, folder: dataDir }, words);
const restore = (...words: string[]) => run(other, 'restore', '--from', backup, '--identity', identity, ...words);

async function withEmbedded<T>(dataDir: string, work: (url: string) => Promise<T>): Promise<T> {
  const embedded = await startEmbedded({ dataDir, log: silent });
  return work(embedded.url).finally(embedded.stop);
}

test('on another machine it is the same installation, secrets included, whatever secrets were made there', {
  timeout: 120_000,
}, async () => {
  for (const [name, text] of Object.entries(secrets)) writeFileSync(join(old, name), `${text}\n`, { mode: 0o600 });
  const used = await withEmbedded(old, async (url) => {
    await migrate(url);
    return useAndStop({ url });
  });
  const made = await run(old, 'backup', '--to', backup, '--recipient', recipient, '--json');
  expect(made).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(made.stdout).secrets).toEqual(['cookie_secret', 'encryption_key']);

  // As any command makes them where there are none.
  writeFileSync(join(other, 'encryption-key'), `${Buffer.alloc(32, 7).toString('base64')}\n`);
  const restored = await restore('--keep-sessions', '--json');
  expect(restored).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(restored.stdout)).toMatchObject({
    secrets: ['cookie-secret', 'encryption-key'],
    audit_intact: true,
  });
  for (const [name, text] of Object.entries(secrets)) {
    expect(readFileSync(join(other, name), 'utf8').trim(), name).toBe(text);
    expect(statSync(join(other, name)).mode & 0o777).toBe(0o600);
  }

  const server = await startServer({ env: { DATA_DIR: other, OIDC_ISSUER: used.env.OIDC_ISSUER }, port: used.port });
  const cookie = [...used.person.jar].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');
  const page = await fetch(`http://127.0.0.1:${server.port}/account`, { headers: { cookie }, redirect: 'manual' });
  expect(page.status).toBe(200);

  const busy = await restore('--replace', '--yes');
  expect(busy).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/A Latchkey server is running on .*: stop it first/),
  });
  await server.stop();
});

test('a restore that is refused leaves the secrets as they were', { timeout: 60_000 }, async () => {
  const key = `${Buffer.alloc(32, 8).toString('base64')}\n`;
  writeFileSync(join(other, 'encryption-key'), key);
  const outcome = await restore();
  expect(outcome).toMatchObject({ code: 1, stderr: expect.stringMatching(/is not empty/) });
  expect(readFileSync(join(other, 'encryption-key'), 'utf8')).toBe(key);
});

/** `latchkey keys`: what an operator sees and does, and what a refusal says. */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { auditEvents, signingKeys } from '../../src/db/schema.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { after, publishedBeforeUseSeconds } from '../../src/keys/key-lifetimes.ts';
import { loadProviderSecret } from '../../src/keys/provider-secret.ts';
import { loadSigningKeys } from '../../src/keys/signing-keys.ts';
import { clearAuditLog } from '../support/audit.ts';
import { type Outcome, runCommandLine } from '../support/command-line.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

type Key = Record<string, unknown> & { kid: string; alg: string; state: string };

const folder = mkdtempSync(join(tmpdir(), 'latchkey-keys-'));
const secret = randomBytes(32);
const encryption = createEncryption([secret]);
let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  await database.db.delete(signingKeys);
  await clearAuditLog(database.db);
  await loadSigningKeys(database.db, encryption, undefined);
});

const env = (own = {}) => ({
  DATABASE_URL: database.url,
  OIDC_COOKIE_SECRET: randomBytes(32).toString('hex'),
  OIDC_ENCRYPTION_KEY: secret.toString('base64'),
  ...own,
});
const keys = (...words: string[]) => runCommandLine({ env: env(), folder }, ['keys', ...words]);
const refused = (stderr: RegExp): Outcome => ({ code: 1, stdout: '', stderr: expect.stringMatching(stderr) });

async function json(...words: string[]) {
  const outcome = await keys(...words, '--json');
  expect(outcome).toMatchObject({ code: 0, stderr: '' });
  return JSON.parse(outcome.stdout);
}

const ring = async () => (await json('list')).keys as Key[];
const only = async (alg: string, state: string) => (await ring()).find((key) => key.alg === alg && key.state === state);

function pemOf({ privateKey }: { privateKey: KeyObject }): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** As if the keys that wait had been made earlier. */
async function waited(): Promise<void> {
  const createdAt = after(new Date(), -publishedBeforeUseSeconds);
  await database.db.update(signingKeys).set({ createdAt }).where(eq(signingKeys.state, 'next'));
}

test('list says of each key what it is there for, and shows no private part', async () => {
  const { stdout } = await keys('list');
  expect(stdout).toMatch(/^KID +ALG +STATE/);
  expect(stdout).toMatch(/ES256 +current +signs until \d{4}-\d\d-\d\d$/m);
  expect(stdout).toMatch(/ES256 +next +waits; may sign from \d{4}-\d\d-\d\d \d\d:\d\d UTC$/m);
  const listed = await ring();
  expect(listed.map(({ alg, state }) => `${alg} ${state}`)).toEqual([
    'RS256 current',
    'ES256 current',
    'ES256 next',
    'EdDSA current',
    'EdDSA next',
  ]);
  expect(listed[0]).toEqual({
    kid: expect.any(String),
    alg: 'RS256',
    state: 'current',
    from: 'ring',
    created_at: expect.any(Number),
    activated_at: expect.any(Number),
    rotates_at: expect.any(Number),
    encrypted_under: 'first',
  });
});

test('before a first start there is nothing to list', async () => {
  await database.db.delete(signingKeys);
  expect((await keys('list')).stdout).toContain('No keys yet.');
});

test('rotate refuses what clients may not have seen, says when it can be done, and --force does it', async () => {
  const before = await only('ES256', 'next');
  const outcome = await keys('rotate', '--alg', 'ES256');
  expect(outcome).toEqual(
    refused(/^error: Nothing was rotated: .* ES256 from \d{4}-\d\d-\d\d \d\d:\d\d UTC\. --force /),
  );
  expect(await only('ES256', 'next')).toEqual(before);
  const [rotation] = await json('rotate', '--alg', 'ES256', '--force');
  expect(rotation).toMatchObject({ alg: 'ES256', signs: before?.kid });
  expect((await ring()).find(({ kid }) => kid === rotation.retired)).toMatchObject({
    state: 'retired',
    retired_at: expect.any(Number),
    published_until: expect.any(Number),
  });
});

test('rotate without --alg rotates all, once all have waited', async () => {
  expect(await keys('rotate')).toEqual(refused(/RS256 from .*, ES256 from .*, EdDSA from /));
  await waited();
  const { code, stdout } = await keys('rotate');
  expect([code, stdout.match(/^\w+: \S+ signs now, \S+ still verifies, \S+ waits\.$/gm)?.length]).toEqual([0, 3]);
  expect(await keys('rotate', '--alg', 'HS256')).toMatchObject({ code: 2 });
});

test('revoke takes a key away at once, tells who signs, and knows what it did before', async () => {
  const [current, next] = [await only('EdDSA', 'current'), await only('EdDSA', 'next')];
  const kid = current?.kid ?? '';
  expect(await json('revoke', kid, '--yes')).toEqual({ revoked: kid, alg: 'EdDSA', was: 'current', signs: next?.kid });
  expect((await keys('list')).stdout).toMatch(new RegExp(`^${kid} +EdDSA +revoked +revoked on `, 'm'));
  expect(await keys('revoke', kid)).toEqual(refused(/was revoked before\.$/m));
  expect(await keys('revoke', '-x9', '--yes')).toEqual(refused(/There is no key -x9\.$/m));
  const events = (await database.db.select().from(auditEvents)).map(({ event }) => event);
  expect(events.slice(-3)).toEqual(['key.revoked', 'key.activated', 'key.created']);
});

test('import takes a PKCS#8 PEM, and the key waits in place of the other', async () => {
  const before = await only('EdDSA', 'next');
  const file = join(folder, 'signing.pem');
  writeFileSync(file, pemOf(generateKeyPairSync('ed25519')));
  const imported = await json('import', file);
  expect(imported).toEqual({ imported: expect.any(String), alg: 'EdDSA', replaced: before?.kid });
  expect(await only('EdDSA', 'next')).toMatchObject({ kid: imported.imported, encrypted_under: 'first' });
  expect(await keys('import', file)).toEqual(refused(/has this key already: \S+ is next\.$/m));
});

test('import says what it takes, of a file that is something else or is not there', async () => {
  const file = join(folder, 'other.pem');
  writeFileSync(file, pemOf(generateKeyPairSync('ec', { namedCurve: 'P-384' })));
  expect(await keys('import', file)).toEqual(refused(/is not an unencrypted PKCS#8 PEM .* RSA .* P-256 or Ed25519/));
  expect(await keys('import', join(folder, 'gone.pem'))).toEqual(refused(/ENOENT.*gone\.pem/));
});

test('a key from JWKS_PRIVATE_KEY is listed as such, and neither rotated nor revoked here', async () => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = pemOf(pair);
  const kid = await calculateJwkThumbprint(await exportJWK(pair.publicKey));
  const run = (...words: string[]) =>
    runCommandLine({ env: env({ JWKS_PRIVATE_KEY: pem }), folder }, ['keys', ...words]);
  const { stdout } = await run('list');
  expect(stdout).toContain(`${kid}  ES256  current  comes from JWKS_PRIVATE_KEY`);
  expect(stdout).toMatch(/ES256 +current +verifies; JWKS_PRIVATE_KEY signs$/m);
  expect(await run('rotate', '--alg', 'ES256')).toEqual(refused(/ES256 is signed with JWKS_PRIVATE_KEY/));
  expect(await run('revoke', kid, '--yes')).toEqual(refused(/comes from JWKS_PRIVATE_KEY/));
  const rotated = await run('rotate', '--force', '--json');
  expect(JSON.parse(rotated.stdout).map(({ alg }: Key) => alg)).toEqual(['RS256', 'EdDSA']);
});

test('what is sealed by an older encryption key is named, and sealed again on request', async () => {
  await loadProviderSecret(database.db, encryption, 'test');
  const newer = randomBytes(32);
  const both = env({ OIDC_ENCRYPTION_KEY: `${newer.toString('base64')},${secret.toString('base64')}` });
  const run = (...words: string[]) => runCommandLine({ env: both, folder }, ['keys', ...words]);
  const before = (await run('list')).stdout;
  expect(before.match(/; needs an older OIDC_ENCRYPTION_KEY$/gm)).toHaveLength(5);
  expect(before).toContain('1 other secret(s) are encrypted under an older OIDC_ENCRYPTION_KEY.');
  expect(JSON.parse((await run('re-encrypt', '--json')).stdout)).toEqual({ re_encrypted: 6, unreadable: 0 });
  expect((await run('list')).stdout).not.toContain('older');
  const alone = await runCommandLine({ env: env(), folder }, ['keys', 'list']);
  expect(alone.stdout.match(/; CANNOT BE OPENED$/gm)).toHaveLength(5);
  expect(
    createEncryption([newer]).sealedBy((await database.db.select().from(signingKeys))[0]?.privateJwkEncrypted ?? ''),
  ).toBe('first');
});

/** OIDC_ENCRYPTION_KEY is rotated by putting a new key in front of the list, starting, and then dropping the old one. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { auditEvents, providerSecrets, signingKeys, totpSecrets } from '../../src/db/schema.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { loadProviderSecret } from '../../src/keys/provider-secret.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';
import { atSecondStep, isSignedIn, letStepsPass, twoStepPerson } from '../support/two-step-person.ts';

let database: TestDatabase;

beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

const [oldKey, newKey] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
const start = (encryptionKeys: string, env = {}) =>
  startApp({ database, env: { OIDC_ENCRYPTION_KEY: encryptionKeys, ...env } });

const saidDone = (app: TestApp) => app.log.filter(({ msg }) => msg.includes('may be taken off the list'));

async function sealedTexts({ database: { db } }: TestApp): Promise<string[]> {
  const keys = await db.select().from(signingKeys);
  const secrets = await db.select().from(providerSecrets);
  const apps = await db.select().from(totpSecrets);
  return [
    ...keys.map((row) => row.privateJwkEncrypted ?? ''),
    ...secrets.map((row) => row.valueEncrypted),
    ...apps.map((row) => row.secretEncrypted),
  ];
}

test('old key, both, new key: all that lasts still opens, and is what it was', async () => {
  const before = await start(oldKey);
  const jwks = await (await fetch(`${before.issuer}/jwks`)).json();
  const ada = await twoStepPerson(before);
  const texts = await sealedTexts(before);
  const salt = await pairwiseSalt(before, oldKey);
  expect(saidDone(before)).toEqual([]);
  await before.close();

  const both = await start(`${newKey},${oldKey}`);
  await expect.poll(() => saidDone(both), { timeout: 20_000 }).toHaveLength(1);
  expect(saidDone(both)[0]).toMatchObject({ re_encrypted: texts.length });
  const sealedUnder = async () => new Set((await sealedTexts(both)).map((text) => text.split('.')[1]));
  expect(await sealedUnder()).toEqual(
    new Set([
      createEncryption([Buffer.from(newKey, 'base64')])
        .encrypt('', '')
        .split('.')[1],
    ]),
  );
  const events = await both.database.db.select().from(auditEvents);
  expect(events.filter(({ event }) => event === 'keys.re-encrypted')).toMatchObject([
    { details: { count: texts.length } },
  ]);
  await both.close();

  const after = await start(newKey);
  expect(await (await fetch(`${after.issuer}/jwks`)).json()).toEqual(jwks);
  expect(await pairwiseSalt(after, newKey)).toBe(salt);
  const account = await registerAccount(after);
  const { tokens } = await signInThrough(after, await discover(after, await registerClient(after)), account);
  expect(tokens.claims()?.sub).toBe(account.sub);
  await letStepsPass(after, ada.account);
  const { person, page } = await atSecondStep(after, ada.account);
  await person.submit(page, 'second-factor', { code: ada.shown() });
  expect(await isSignedIn(person)).toBe(true);
  await after.close();
});

function pairwiseSalt({ database: { db } }: TestApp, key: string): Promise<string> {
  return loadProviderSecret(db, createEncryption([Buffer.from(key, 'base64')]), 'pairwise-salt');
}

test('two servers that start with the new key at once leave every text readable', async () => {
  await (await start(oldKey)).close();
  const apps = await Promise.all([start(`${newKey},${oldKey}`), start(`${newKey},${oldKey}`)]);
  for (const app of apps) await expect.poll(() => saidDone(app), { timeout: 20_000 }).toHaveLength(1);
  expect(apps.map((app) => Number(saidDone(app)[0]?.re_encrypted)).filter((count) => count > 0)).toHaveLength(1);
  for (const app of apps) await app.close();
  await (await start(newKey)).close();
});

test('a start with a key that opens nothing says which variable is wrong', async () => {
  await (await start(oldKey)).close();
  await expect(start(newKey)).rejects.toThrow(/OIDC_ENCRYPTION_KEY/);
});

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAccount } from '../../src/accounts/accounts.ts';
import {
  confirmTotp,
  consumeTotpCode,
  keyUri,
  newTotpSetUp,
  readTotpCode,
  readTotpSetUp,
} from '../../src/accounts/totp.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

/** RFC 6238, appendix B: the SHA-1 key, and its codes in six digits. */
const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
const vectors: [seconds: number, code: string][] = [
  [1111111109, '081804'],
  [1111111111, '050471'],
  [1234567890, '005924'],
  [2000000000, '279037'],
];
const at = (seconds: number) => new Date(seconds * 1000);

const encryption = createEncryption([Buffer.alloc(32, 1)]);
let database: OpenTestDatabase;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

async function accountWithApp(): Promise<string> {
  const email = `${randomUUID()}@moreno.example`;
  const created = await createAccount(database.db, { email, name: 'Ada', passwordHash: null });
  if (created.outcome !== 'created') throw new Error('not created');
  const { id } = created.account;
  const confirmed = await database.db.transaction((tx) =>
    confirmTotp(tx, encryption, id, { secret, code: '287082' }, at(59)),
  );
  expect(confirmed).toBe(true);
  return id;
}

const consume = (id: string, code: string, seconds: number) =>
  consumeTotpCode(database.db, encryption, id, code, at(seconds));

describe('a code', () => {
  test.each(vectors)('is that of RFC 6238 at %i, once', async (seconds, code) => {
    const id = await accountWithApp();
    expect(await consume(id, code, seconds)).toBe(true);
    expect(await consume(id, code, seconds)).toBe(false);
    expect(await consume(id, code, seconds + 29)).toBe(false);
  });

  test('of a step before the last one used is worth nothing', async () => {
    const id = await accountWithApp();
    expect(await consume(id, '050471', 1111111111)).toBe(true);
    // A step earlier, and within what clocks may differ.
    expect(await consume(id, '081804', 1111111111)).toBe(false);
  });

  test('is worth nothing for an account without an app, or whose secret was moved from another', async () => {
    const id = await accountWithApp();
    expect(await consume('u_nobody', '005924', 1234567890)).toBe(false);
    const other = await accountWithApp();
    await database.db.execute(
      `update totp_secrets set secret_encrypted = (select secret_encrypted from totp_secrets where account_id = '${id}')
       where account_id = '${other}'`,
    );
    await expect(consume(other, '005924', 1234567890)).rejects.toThrow(/belongs to something else/);
  });

  test.each([
    ['123456', '123456'],
    [' 123 456 ', '123456'],
    ['123-456', '123456'],
    ['１２３４５６', '123456'],
    ['12345', undefined],
    ['1234567', undefined],
    ['12345a', undefined],
    ['', undefined],
  ])('typed as %j is %j', (typed, code) => {
    expect(readTotpCode(typed)).toBe(code);
  });
});

describe('a set-up', () => {
  test('has 160 random bits, in a text that apps understand', () => {
    const { secret: fresh } = newTotpSetUp(encryption, 'u_ada');
    expect(fresh).toMatch(/^[A-Z2-7]{32}$/);
    expect(newTotpSetUp(encryption, 'u_ada').secret).not.toBe(fresh);
    const uri = new URL(keyUri(fresh, { issuer: 'North & Gate', email: 'ada@moreno.example' }));
    expect(`${uri.protocol}//${uri.host}${decodeURIComponent(uri.pathname)}`).toBe(
      'otpauth://totp/North & Gate:ada@moreno.example',
    );
    expect(Object.fromEntries(uri.searchParams)).toEqual({
      secret: fresh,
      issuer: 'North & Gate',
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    });
  });

  test('is one account’s, unchanged', () => {
    const { sealed, secret: fresh } = newTotpSetUp(encryption, 'u_ada');
    expect(readTotpSetUp(encryption, 'u_ada', sealed)).toBe(fresh);
    for (const wrong of [sealed.slice(0, -2), '', undefined, {}, fresh]) {
      expect(readTotpSetUp(encryption, 'u_ada', wrong)).toBeUndefined();
    }
    expect(readTotpSetUp(encryption, 'u_eve', sealed)).toBeUndefined();
  });
});

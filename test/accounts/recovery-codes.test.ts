import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAccount } from '../../src/accounts/accounts.ts';
import { consumeRecoveryCode, readRecoveryCode, replaceRecoveryCodes } from '../../src/accounts/recovery-codes.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;
let id: string;

beforeAll(async () => {
  database = await openTestDatabase();
  const created = await createAccount(database.db, { email: 'ada@moreno.example', name: 'Ada', passwordHash: null });
  if (created.outcome === 'created') id = created.account.id;
});
afterAll(() => database.close());

test('ten codes of 80 bits, all different, each good once', async () => {
  const codes = await replaceRecoveryCodes(database.db, id);
  expect(new Set(codes).size).toBe(10);
  for (const code of codes) expect(code).toMatch(/^([0-9a-hjkmnp-tv-z]{4}-){3}[0-9a-hjkmnp-tv-z]{4}$/);
  const left = [];
  for (const code of codes) left.push(await consumeRecoveryCode(database.db, id, readRecoveryCode(code) as string));
  expect(left).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  expect(await consumeRecoveryCode(database.db, id, readRecoveryCode(codes[3] as string) as string)).toBeUndefined();
});

test('of eight uses at once one wins', async () => {
  const [code] = await replaceRecoveryCodes(database.db, id);
  const use = () => consumeRecoveryCode(database.db, id, readRecoveryCode(code as string) as string);
  const used = await Promise.all(Array.from({ length: 8 }, use));
  expect(used.filter((left) => left !== undefined)).toHaveLength(1);
});

test.each([
  ['k7mw-p3rt-9dxq-hv2n', 'k7mwp3rt9dxqhv2n'],
  [' K7MW P3RT 9DXQ HV2N ', 'k7mwp3rt9dxqhv2n'],
  ['k7mwp3rt9dxqhvOI', 'k7mwp3rt9dxqhv01'],
  ['k7mw-p3rt-9dxq-hv2l', 'k7mwp3rt9dxqhv21'],
  ['k7mw-p3rt-9dxq', undefined],
  ['k7mw-p3rt-9dxq-hv2u', undefined],
  ['k7mw-p3rt-9dxq-hv2nn', undefined],
  ['', undefined],
])('typed as %j it is %j', (typed, code) => {
  expect(readRecoveryCode(typed)).toBe(code);
});

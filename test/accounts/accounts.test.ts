import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createAccount,
  findAccount,
  findAccountByEmail,
  findActiveAccount,
  listAccounts,
  normalizeEmail,
  updateProfile,
} from '../../src/accounts/accounts.ts';
import { users } from '../../src/db/schema.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const ada = { email: 'Ada@Moreno.example', name: 'Ada Moreno', passwordHash: null };

async function created(email: string, now?: Date) {
  const result = await createAccount(database.db, { email, name: 'Somebody', passwordHash: null }, now);
  if (result.outcome !== 'created') throw new Error(`${email} is taken`);
  return result.account;
}

test.each([
  [' Ada@Moreno.Example ', 'ada@moreno.example'],
  ['ａｄａ@moreno.example', 'ada@moreno.example'],
  ['ada@MÜNCHEN.example', 'ada@xn--mnchen-3ya.example'],
  ['ada@xn--mnchen-3ya.example', 'ada@xn--mnchen-3ya.example'],
  ['a\u0308da@moreno.example', '\u00e4da@moreno.example'],
  ['no address', 'no address'],
])('%s is compared as %s', (typed, normalized) => {
  expect(normalizeEmail(typed)).toBe(normalized);
});

describe('an address', () => {
  test('belongs to one account, however it is written', async () => {
    const first = await createAccount(database.db, ada);
    expect(first).toMatchObject({ outcome: 'created', account: { email: 'Ada@Moreno.example', emailVerified: false } });
    expect(await createAccount(database.db, { ...ada, email: ' aDA@moreno.EXAMPLE' })).toEqual({
      outcome: 'email-taken',
    });
    expect((await findAccountByEmail(database.db, 'ADA@MORENO.EXAMPLE'))?.name).toBe('Ada Moreno');
  });

  test('registered by ten at once makes one account', async () => {
    const results = await Promise.all(
      Array.from({ length: 10 }, () => createAccount(database.db, { ...ada, email: 'race@moreno.example' })),
    );
    expect(results.filter(({ outcome }) => outcome === 'created')).toHaveLength(1);
    const rows = await database.db.select().from(users).where(eq(users.emailNormalized, 'race@moreno.example'));
    expect(rows).toHaveLength(1);
  });

  test('that is taken does not spoil the transaction around it', async () => {
    await created('taken@moreno.example');
    const account = await database.db.transaction(async (tx) => {
      await createAccount(tx, { ...ada, email: 'taken@moreno.example' });
      return createAccount(tx, { ...ada, email: 'free@moreno.example' });
    });
    expect(account.outcome).toBe('created');
  });
});

test('a sub is random, can equal no client id, and never comes with a password hash (SECURITY 47, 57)', async () => {
  const account = await created('sub@moreno.example');
  expect(account.id).toMatch(/^u_[\w-]{22}$/);
  expect(account).not.toHaveProperty('passwordHash');
  expect(await findAccount(database.db, account.id)).toEqual(account);
});

test('a suspended account is there for the operator and absent for sign-in', async () => {
  const { id } = await created('suspended@moreno.example');
  expect((await findActiveAccount(database.db, id))?.id).toBe(id);
  await database.db.update(users).set({ suspendedAt: new Date() }).where(eq(users.id, id));
  expect(await findActiveAccount(database.db, id)).toBeUndefined();
  expect((await findAccount(database.db, id))?.id).toBe(id);
  expect(await findActiveAccount(database.db, 'u_unknown')).toBeUndefined();
});

test('accounts are listed oldest first, page by page, each once', async () => {
  const at = (second: number) => new Date(Date.UTC(2001, 0, 1, 0, 0, second));
  const made = [];
  for (const second of [1, 2, 2, 3]) made.push((await created(`list${made.length}@moreno.example`, at(second))).id);
  const first = await listAccounts(database.db, { limit: 2 });
  const second = await listAccounts(database.db, { limit: 2, after: first.at(-1)?.id });
  expect([...first, ...second].map(({ id }) => id).toSorted()).toEqual(made.toSorted());
  expect(first[0]?.id).toBe(made[0]);
  expect(second[1]?.id).toBe(made[3]);
  expect(await listAccounts(database.db, { after: 'u_unknown' })).toEqual([]);
});

describe('a profile', () => {
  test('changes what is given and keeps the rest', async () => {
    const { id } = await created('profile@moreno.example', new Date('2026-01-01T00:00:00Z'));
    const now = new Date('2026-02-02T00:00:00Z');
    await updateProfile(database.db, id, { givenName: 'Ada', nickname: 'a' }, now);
    const account = await updateProfile(database.db, id, { nickname: null }, now);
    expect(account).toMatchObject({ name: 'Somebody', givenName: 'Ada', nickname: null, updatedAt: now });
    expect(await updateProfile(database.db, 'u_unknown', { nickname: 'a' })).toBeUndefined();
  });

  test('with another phone number is unverified again, with the same one it is not', async () => {
    const { id } = await created('phone@moreno.example');
    await database.db
      .update(users)
      .set({ phoneNumber: '+351210000000', phoneNumberVerified: true })
      .where(eq(users.id, id));
    expect((await updateProfile(database.db, id, { phoneNumber: '+351210000000' }))?.phoneNumberVerified).toBe(true);
    expect((await updateProfile(database.db, id, { nickname: 'a' }))?.phoneNumberVerified).toBe(true);
    expect((await updateProfile(database.db, id, { phoneNumber: '+351210000001' }))?.phoneNumberVerified).toBe(false);
    expect((await updateProfile(database.db, id, { phoneNumber: null }))?.phoneNumberVerified).toBe(false);
  });
});

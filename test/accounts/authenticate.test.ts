import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createAccount } from '../../src/accounts/accounts.ts';
import { createAttempts } from '../../src/accounts/attempts.ts';
import { type Authentication, type Credentials, createAuthenticate } from '../../src/accounts/authenticate.ts';
import { hashPassword } from '../../src/accounts/password.ts';
import { users } from '../../src/db/schema.ts';
import { type Bcrypt, BusyError, createBcryptPool } from '../../src/lib/bcrypt-pool.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const pool = createBcryptPool({ rounds: 4 });
let compared: string[] = [];
const bcrypt: Bcrypt = {
  ...pool,
  compare: (text, hash) => {
    compared.push(hash);
    return pool.compare(text, hash);
  },
};

let database: OpenTestDatabase;
let authenticate: ReturnType<typeof instanceWith>;
beforeAll(async () => {
  database = await openTestDatabase();
  authenticate = instanceWith(bcrypt);
});
afterAll(async () => {
  await pool.close();
  await database.close();
});

/** An instance of the server, asked from the person's own address. */
function instanceWith(bcrypt: Bcrypt) {
  const { db } = database;
  const authenticate = createAuthenticate({ db, bcrypt, attempts: createAttempts(db), addressDigest: () => 'digest' });
  return (credentials: Omit<Credentials, 'address'>) => authenticate({ ...credentials, address: `192.0.2.${people}` });
}

const right = 'tram window salt piano';
const wrong = 'tram window salt organ';
let email: string;
let accountId: string;
let people = 0;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-04T05:06:07Z') });
  people += 1;
  email = `person${people}@moreno.example`;
  const result = await createAccount(database.db, {
    email,
    name: 'Ada',
    passwordHash: await hashPassword(pool, right),
  });
  if (result.outcome === 'created') accountId = result.account.id;
  compared = [];
});
afterEach(() => {
  vi.useRealTimers();
});

async function wrongOnes(count: number, knownDevice?: string): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    expect(await authenticate({ email, password: wrong, knownDevice })).toEqual({ outcome: 'rejected' });
  }
}

function minutesLater(minutes: number): void {
  vi.setSystemTime(Date.now() + minutes * 60_000);
}

function tally(results: Authentication[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome } of results) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

describe('an address and a password', () => {
  test('give the account, without its hash', async () => {
    const result = await authenticate({ email: ` ${email.toUpperCase()} `, password: right });
    expect(result).toMatchObject({ outcome: 'authenticated', account: { id: accountId, email } });
    expect(JSON.stringify(result)).not.toContain('bcrypt');
  });

  test('are refused alike and for the same work: unknown, wrong, without password, wrong for a suspended one (SECURITY 49)', async () => {
    await createAccount(database.db, { email: `no-password-${email}`, name: 'Eve', passwordHash: null });
    const attempts = [
      { email, password: wrong },
      { email: `unknown-${email}`, password: wrong },
      { email: `no-password-${email}`, password: wrong },
      { email: 'no address at all', password: wrong },
    ];
    for (const attempt of attempts) expect(await authenticate(attempt)).toEqual({ outcome: 'rejected' });
    await database.db.update(users).set({ suspendedAt: new Date() }).where(eq(users.id, accountId));
    expect(await authenticate({ email, password: wrong })).toEqual({ outcome: 'rejected' });
    expect(await authenticate({ email, password: right })).toEqual({ outcome: 'suspended' });
    expect(compared).toHaveLength(6);
    expect(new Set(compared.map((hash) => hash.slice(0, 7)))).toEqual(new Set(['$2b$04$']));
  });

  test('give the stored hash the configured cost, at the next sign-in and not before', async () => {
    const dearer = createBcryptPool({ rounds: 5 });
    const authenticateDearer = instanceWith(dearer);
    const stored = async () => (await database.db.select().from(users).where(eq(users.id, accountId)))[0]?.passwordHash;
    const before = await stored();
    await authenticateDearer({ email, password: wrong });
    expect(await stored()).toBe(before);
    expect(await authenticateDearer({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
    expect(await stored()).toMatch(/^\$bcrypt-sha384\$2b\$05\$/);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
    await dearer.close();
  });
});

describe('wrong passwords in a row (SECURITY 51)', () => {
  test('after 30 even the right one is refused, unjudged, for 15 minutes from the thirtieth', async () => {
    await wrongOnes(29);
    minutesLater(3);
    await wrongOnes(1);
    compared = [];
    expect(await authenticate({ email, password: right })).toEqual({ outcome: 'throttled', retryAfterSeconds: 900 });
    minutesLater(10);
    expect(await authenticate({ email, password: wrong })).toEqual({ outcome: 'throttled', retryAfterSeconds: 300 });
    expect(compared).toEqual([]);
    minutesLater(5);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
  });

  test('the thirtieth attempt may still be the right one', async () => {
    await wrongOnes(29);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
    await wrongOnes(30);
  });

  test('a right one in between starts the count again', async () => {
    await wrongOnes(20);
    await authenticate({ email, password: right });
    await wrongOnes(20);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
  });

  test('they add up over hours, and a day of quiet forgets them', async () => {
    for (let hour = 0; hour < 30; hour += 1) {
      minutesLater(60);
      await wrongOnes(1);
    }
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'throttled' });
    minutesLater(15);
    await wrongOnes(9);
    minutesLater(24 * 60);
    await wrongOnes(30);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'throttled' });
  });

  test('then ten at a time, with pauses that grow to an hour and no further (SECURITY 52)', async () => {
    await wrongOnes(30);
    for (const minutes of [15, 30, 60, 60]) {
      const retryAfterSeconds = minutes * 60;
      expect(await authenticate({ email, password: right })).toEqual({ outcome: 'throttled', retryAfterSeconds });
      minutesLater(minutes);
      await wrongOnes(10);
    }
    minutesLater(60);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
    await wrongOnes(30);
  });

  test('an unknown address is throttled like a known one', async () => {
    email = `unknown-${email}`;
    await wrongOnes(30);
    expect(await authenticate({ email, password: wrong })).toEqual({ outcome: 'throttled', retryAfterSeconds: 900 });
  });

  test('spelling the address differently makes no second count', async () => {
    await wrongOnes(29);
    await authenticate({ email: ` ${email.toUpperCase()}`, password: wrong });
    expect(await authenticate({ email, password: wrong })).toMatchObject({ outcome: 'throttled' });
  });

  test('in parallel, on two instances, no more than 30 are judged', async () => {
    const otherInstance = instanceWith(bcrypt);
    const results = await Promise.all(
      Array.from({ length: 60 }, (_, i) => (i % 2 ? authenticate : otherInstance)({ email, password: wrong })),
    );
    expect(tally(results)).toEqual({ rejected: 30, throttled: 30 });
    expect(compared).toHaveLength(30);
  });

  test('many right ones at once are no row of wrong ones', async () => {
    const results = await Promise.all(Array.from({ length: 60 }, () => authenticate({ email, password: right })));
    expect(tally(results)).toEqual({ authenticated: 60 });
  });

  test('a moment too busy to judge an attempt does not count it', async () => {
    const busy = instanceWith({ ...bcrypt, compare: () => Promise.reject(new BusyError('full')) });
    for (let i = 0; i < 31; i += 1) await expect(busy({ email, password: wrong })).rejects.toThrow(BusyError);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
  });
});

describe('a known device (SECURITY 52)', () => {
  test('is not locked out by strangers, nor strangers let in by it', async () => {
    await wrongOnes(30);
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'throttled' });
    expect(await authenticate({ email, password: right, knownDevice: 'home' })).toMatchObject({
      outcome: 'authenticated',
    });
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'throttled' });
  });

  test('has a limit of its own', async () => {
    await wrongOnes(30, 'stolen');
    expect(await authenticate({ email, password: right, knownDevice: 'stolen' })).toMatchObject({
      outcome: 'throttled',
    });
    expect(await authenticate({ email, password: right })).toMatchObject({ outcome: 'authenticated' });
  });
});

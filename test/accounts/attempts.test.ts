/** The policy by itself: how many tries, how long the pauses, and whose they are. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { clearAttempts, listAttempts } from '../../src/accounts/account-attempts.ts';
import { forgottenTries } from '../../src/accounts/attempt-counts.ts';
import { type Attempter, type AttemptKind, type Attempts, createAttempts } from '../../src/accounts/attempts.ts';
import { findSignInNews } from '../../src/accounts/sign-in-news.ts';
import { record } from '../../src/audit/record.ts';
import { deleteExpired } from '../../src/db/expired.ts';
import { auditEvents, throttles } from '../../src/db/schema.ts';
import { BusyError } from '../../src/lib/bcrypt-pool.ts';
import { clearAuditLog } from '../support/audit.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

let database: OpenTestDatabase;
let attempts: Attempts;
let ada: { id: string; email: string };
let people = 0;

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-04T05:06:07Z') });
  attempts = createAttempts(database.db);
  await database.db.delete(throttles);
  people += 1;
  ada = { id: `u_${people}`, email: `ada${people}@moreno.example` };
});
afterEach(() => {
  vi.useRealTimers();
});

const home = '192.0.2.1';
const wrong = async () => undefined;
const right = async () => 'Ada';

const judge = (kind: AttemptKind, who: Partial<Attempter>, work: () => Promise<string | undefined> = wrong) =>
  attempts.judge(kind, { address: home, ...who }, work);
const outcomeOf = async (...args: Parameters<typeof judge>) => (await judge(...args)).outcome;

/** Whoever it is, from an address of their own each time: only the account's count can stop them. */
const anywhere = (who: Partial<Attempter>) => ({ ...who, address: randomAddress() });
const randomAddress = () => `2001:db8:${randomUUID().slice(0, 4)}:${randomUUID().slice(0, 2)}00::1`;

async function wrongOnes(count: number, kind: AttemptKind, who: () => Partial<Attempter>): Promise<void> {
  for (let index = 0; index < count; index += 1)
    expect([index, await outcomeOf(kind, who())]).toEqual([index, 'wrong']);
}

function later(seconds: number): void {
  vi.setSystemTime(Date.now() + seconds * 1000);
}

describe('against one account (SECURITY 51)', () => {
  const policies: [AttemptKind, number, number, number[]][] = [
    ['password', 30, 10, [15, 30, 60, 60]],
    ['second-factor', 10, 5, [15, 30, 60, 120, 240, 240]],
    ['device-code', 20, 20, [15, 15]],
  ];

  test.each(policies)('%s: %i tries, then %i at a time; pauses of %j minutes', async (kind, most, thenMost, pauses) => {
    const who = () => anywhere({ account: ada.id });
    await wrongOnes(most, kind, who);
    for (const minutes of pauses) {
      const paused = { outcome: 'throttled', retryAfterSeconds: minutes * 60 };
      expect(await judge(kind, who(), right)).toEqual(paused);
      later(minutes * 60 - 1);
      expect(await judge(kind, who(), right)).toEqual({ outcome: 'throttled', retryAfterSeconds: 1 });
      later(1);
      await wrongOnes(thenMost, kind, who);
    }
  });

  test('a right one after a pause ends the row', async () => {
    const who = () => anywhere({ account: ada.id });
    await wrongOnes(10, 'second-factor', who);
    later(15 * 60);
    expect(await judge('second-factor', who(), right)).toEqual({ outcome: 'right', value: 'Ada' });
    await wrongOnes(10, 'second-factor', who);
  });

  test('the last one before a pause may be the right one, and then there is no pause', async () => {
    const who = () => anywhere({ account: ada.id });
    await wrongOnes(9, 'second-factor', who);
    expect(await outcomeOf('second-factor', who(), right)).toBe('right');
    expect(await outcomeOf('second-factor', who(), right)).toBe('right');
  });

  test('says which one is the last for a while', async () => {
    const who = () => anywhere({ account: ada.id });
    await wrongOnes(9, 'second-factor', who);
    expect(await judge('second-factor', who())).toEqual({ outcome: 'wrong', startsPause: true });
    later(15 * 60);
    expect(await judge('second-factor', who())).toEqual({ outcome: 'wrong', startsPause: false });
  });

  test('kinds are counted apart, and so are accounts', async () => {
    const who = () => anywhere({ account: ada.id });
    await wrongOnes(10, 'second-factor', who);
    expect(await outcomeOf('second-factor', who(), right)).toBe('throttled');
    expect(await outcomeOf('password', who(), right)).toBe('right');
    expect(await outcomeOf('second-factor', anywhere({ account: 'u_bea' }), right)).toBe('right');
  });

  test('in parallel, on two instances, no more are judged than one after the other', async () => {
    const other = createAttempts(database.db);
    const judged: number[] = [];
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        (index % 2 ? attempts : other).judge('second-factor', { address: home, account: ada.id }, async () => {
          judged.push(index);
          return undefined;
        }),
      ),
    );
    expect(judged).toHaveLength(10);
    expect(results.filter(({ outcome }) => outcome === 'throttled')).toHaveLength(30);
  });

  test('passkeys are not counted by account: nobody guesses one, so that would only hold up the owner (SECURITY 52)', async () => {
    await wrongOnes(40, 'passkey', () => anywhere({ account: ada.id }));
    expect(await outcomeOf('passkey', anywhere({ account: ada.id }), right)).toBe('right');
  });

  test('right device codes leave the wrong ones counted: whoever guesses can make codes (RFC 8628 §5.1)', async () => {
    const who = () => anywhere({ account: ada.id });
    await wrongOnes(19, 'device-code', who);
    for (let index = 0; index < 5; index += 1) expect(await outcomeOf('device-code', who(), right)).toBe('right');
    await wrongOnes(1, 'device-code', who);
    expect(await outcomeOf('device-code', who(), right)).toBe('throttled');
  });
});

describe('a browser that is known for the account (SECURITY 52)', () => {
  test('is not held up by what others tried, wherever they are', async () => {
    await wrongOnes(30, 'password', () => ({ account: ada.email }));
    expect(await outcomeOf('password', { account: ada.email }, right)).toBe('throttled');
    expect(await outcomeOf('password', { account: ada.email, knownDevice: 'at home' }, right)).toBe('right');
    expect(await outcomeOf('password', { account: ada.email }, right), 'nor are they let in by it').toBe('throttled');
  });

  test('has a count of its own, for this account alone', async () => {
    await wrongOnes(30, 'password', () => ({ account: ada.email, knownDevice: 'stolen' }));
    expect(await outcomeOf('password', { account: ada.email, knownDevice: 'stolen' }, right)).toBe('throttled');
    expect(await outcomeOf('password', { account: ada.email, knownDevice: 'at home' }, right)).toBe('right');
    expect(await outcomeOf('password', { account: ada.email }, right)).toBe('right');
    expect(await outcomeOf('password', { account: 'bea@moreno.example', knownDevice: 'stolen' }, right)).toBe('right');
  });

  test('gets in from an address where nobody else is judged any more', async () => {
    await database.db.delete(throttles);
    await useUpSource();
    expect(await outcomeOf('password', { account: ada.email }, right)).toBe('throttled');
    expect(await outcomeOf('password', { account: ada.email, knownDevice: 'at home' }, right)).toBe('right');
  });
});

/** 300 wrong passwords from home, one an account. */
async function useUpSource(address = home): Promise<void> {
  const outcomes = await Promise.all(
    Array.from({ length: 300 }, (_, index) => outcomeOf('password', { account: `somebody ${index}`, address })),
  );
  expect(new Set(outcomes)).toEqual(new Set(['wrong']));
}

describe('from one source (SECURITY 51)', () => {
  test('300 wrong ones of whichever accounts, then a pause for all that nobody knows there', async () => {
    await useUpSource();
    const paused = { outcome: 'throttled', retryAfterSeconds: 15 * 60 };
    expect(await judge('password', { account: 'one more' }, right)).toEqual(paused);
    expect(await outcomeOf('password', { account: 'one more', address: '192.0.2.2' }, right)).toBe('right');
    later(15 * 60);
    expect(await outcomeOf('password', { account: 'one more' }, right)).toBe('right');
  });

  test('what is refused there is no wrong try of the account', async () => {
    await useUpSource();
    for (let index = 0; index < 40; index += 1) await judge('password', { account: ada.email });
    expect(await outcomeOf('password', { account: ada.email, address: '192.0.2.2' }, right)).toBe('right');
  });

  test('and what is refused for the account is no wrong try of the source', async () => {
    await wrongOnes(30, 'password', () => anywhere({ account: ada.email }));
    for (let index = 0; index < 310; index += 1) await judge('password', { account: ada.email });
    expect(await outcomeOf('password', { account: 'bea@moreno.example' }, right)).toBe('right');
  });

  test('right ones in between do not start its count again, and are none themselves', async () => {
    await Promise.all(Array.from({ length: 299 }, (_, index) => judge('password', { account: `somebody ${index}` })));
    for (let index = 0; index < 20; index += 1) {
      expect(await outcomeOf('password', { account: `attacker ${index}` }, right)).toBe('right');
    }
    expect(await outcomeOf('password', { account: 'somebody' })).toBe('wrong');
    expect(await outcomeOf('password', { account: 'attacker' }, right)).toBe('throttled');
  });

  test('is forgotten after three hours, however steadily it goes on: many people share an address', async () => {
    for (let hour = 0; hour < 8; hour += 1) {
      const ones = Array.from({ length: 90 }, (_, index) => outcomeOf('password', { account: `${hour} ${index}` }));
      expect(new Set(await Promise.all(ones))).toEqual(new Set(['wrong']));
      later(60 * 60);
    }
  });

  test.each([
    ['neighbours in a network (IPv6)', '2001:db8:1:2::1', '2001:db8:1:2:ffff::9'],
    ['one address in two notations', '::ffff:192.0.2.1', '192.0.2.1'],
  ])('%s are one', async (_what, one, same) => {
    for (let index = 0; index < 60; index += 1) await judge('link', { address: one });
    expect(await outcomeOf('link', { address: same }, right)).toBe('throttled');
    expect(await outcomeOf('link', { address: '2001:db9::1' }, right)).toBe('right');
  });
});

describe('a try that could not be judged', () => {
  test('does not count when there was no time or no database for it', async () => {
    const away = Object.assign(new Error('connect ECONNREFUSED'), { code: '08006' });
    for (const error of [new BusyError('full'), away]) {
      for (let index = 0; index < 31; index += 1) {
        await expect(judge('second-factor', { account: ada.id }, () => Promise.reject(error))).rejects.toBe(error);
      }
    }
    await wrongOnes(10, 'second-factor', () => ({ account: ada.id }));
  });

  test('counts when it broke otherwise: nobody can guess for free by breaking it', async () => {
    const broken = () => Promise.reject(new Error('broken'));
    for (let index = 0; index < 10; index += 1) {
      await expect(judge('second-factor', { account: ada.id }, broken)).rejects.toThrow('broken');
    }
    expect(await outcomeOf('second-factor', { account: ada.id }, right)).toBe('throttled');
  });
});

describe('mails that are asked for', () => {
  const ask = async (who: Partial<Attempter>, kind: 'reset-mail' | 'verification-mail' = 'reset-mail') =>
    attempts.spend(kind, { address: home, ...who });
  const times = async (count: number, work: () => Promise<unknown>) => {
    for (let index = 0; index < count; index += 1) await work();
  };

  test('three to an account in a quarter of an hour, and no sign of it: the latest is still good (SECURITY 50, 52)', async () => {
    for (let quarter = 0; quarter < 4; quarter += 1) {
      for (let index = 0; index < 3; index += 1) {
        expect(await ask({ account: ada.email })).toEqual({ outcome: 'counted' });
      }
      for (let minute = 0; minute < 15; minute += 1) {
        expect(await ask({ account: ada.email })).toEqual({ outcome: 'enough' });
        later(60);
      }
    }
  });

  test('ten from wherever: one alone cannot use them up, and many cannot fill a mailbox (SECURITY 52)', async () => {
    await times(5, () => ask({ account: ada.email }));
    for (let index = 0; index < 7; index += 1) {
      expect(await ask(anywhere({ account: ada.email }))).toEqual({ outcome: 'counted' });
    }
    expect(await ask(anywhere({ account: ada.email }))).toEqual({ outcome: 'enough' });
    expect(await ask(anywhere({ account: 'bea@moreno.example' }))).toEqual({ outcome: 'counted' });
  });

  test('those to prove an address are counted apart, and so are known browsers', async () => {
    await times(3, () => ask({ account: ada.email }));
    expect(await ask({ account: ada.email })).toEqual({ outcome: 'enough' });
    expect(await ask({ account: ada.email }, 'verification-mail')).toEqual({ outcome: 'counted' });
    expect(await ask({ account: ada.email, knownDevice: 'at home' })).toEqual({ outcome: 'counted' });
  });

  test('thirty from a source, for whomever; then it is told to wait', async () => {
    await Promise.all(Array.from({ length: 30 }, (_, index) => ask({ account: `somebody ${index}` })));
    expect(await ask({ account: 'one more' })).toEqual({ outcome: 'throttled', retryAfterSeconds: 15 * 60 });
    expect(await ask(anywhere({ account: 'one more' }))).toEqual({ outcome: 'counted' });
  });
});

describe('what is stored', () => {
  test('tells neither address nor account, and goes when it is over', async () => {
    await judge('password', { account: ada.email });
    await judge('password', { account: ada.email, knownDevice: 'at home' });
    const rows = await database.db.select().from(throttles);
    expect(rows).toHaveLength(3);
    for (const text of [ada.email, home, 'at home']) expect(JSON.stringify(rows)).not.toContain(text);
    const forget = () => deleteExpired(database.db, forgottenTries, { before: new Date(), limit: 100 });
    later(24 * 60 * 60 - 1);
    await forget();
    expect(await database.db.select().from(throttles)).toHaveLength(2);
    later(1);
    await forget();
    expect(await database.db.select().from(throttles)).toHaveLength(0);
  });

  test('is listed for an operator, known browsers apart, and cleared with a record of it', async () => {
    await wrongOnes(30, 'password', () => anywhere({ account: ada.email }));
    await judge('password', { account: ada.email, knownDevice: 'at home' });
    await judge('second-factor', { account: ada.id });
    await judge('second-factor', { account: 'u_somebody else' });
    const listed = await listAttempts(database.db, { ...ada, email: ` ${ada.email.toUpperCase()}` });
    expect(listed).toHaveLength(3);
    expect(listed).toEqual(
      expect.arrayContaining([
        { kind: 'password', tries: 30, fromAnywhere: true, pausedUntil: new Date('2026-03-04T05:21:07Z') },
        { kind: 'password', tries: 1, fromAnywhere: false, pausedUntil: undefined },
        { kind: 'second-factor', tries: 1, fromAnywhere: true, pausedUntil: undefined },
      ]),
    );
    expect(await clearAttempts(database.db, ada)).toBe(true);
    expect(await clearAttempts(database.db, ada)).toBe(false);
    expect(await listAttempts(database.db, ada)).toEqual([]);
    expect(await outcomeOf('password', { account: ada.email }, right)).toBe('right');
    const events = (await database.db.select().from(auditEvents)).filter(({ accountId }) => accountId === ada.id);
    expect(events).toMatchObject([{ event: 'throttle.cleared' }]);
  });
});

describe('what its owner is told', () => {
  const session = () => ({ uid: 'now', accountId: ada.id, loginAt: new Date() });
  const happened = (event: 'login.succeeded' | 'login.failed', sessionUid?: string) =>
    record(database.db, { event, accountId: ada.id, sessionUid });

  beforeEach(() => {
    vi.useRealTimers();
    return clearAuditLog(database.db);
  });

  test('how often it failed since the sign-in before this one', async () => {
    await happened('login.failed');
    await happened('login.succeeded', 'before');
    for (let index = 0; index < 12; index += 1) await happened('login.failed');
    await happened('login.succeeded', 'now');
    const [, before] = await database.db.select().from(auditEvents).orderBy(auditEvents.id);
    expect((await findSignInNews(database.db, session())).tries).toEqual({ failed: 12, since: before?.at });
  });

  test('nothing of a slip or two, nor of others', async () => {
    for (let index = 0; index < 4; index += 1) await happened('login.failed');
    await record(database.db, { event: 'login.failed', accountId: 'u_somebody else' });
    expect((await findSignInNews(database.db, session())).tries).toBeUndefined();
    await happened('login.failed');
    expect((await findSignInNews(database.db, session())).tries).toEqual({ failed: 5, since: undefined });
  });
});

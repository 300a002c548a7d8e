/** The queue of mails, with several instances at it. */
import { randomBytes } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { auditEvents, mails } from '../../src/db/schema.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { type Background, createBackground } from '../../src/lib/background.ts';
import { mailDelivery } from '../../src/mail/delivery.ts';
import { createLetters } from '../../src/mail/letters.ts';
import type { Mail } from '../../src/mail/mails.ts';
import { notifyAccount } from '../../src/mail/notify.ts';
import {
  claimDueMails,
  enqueueMail,
  giveUpWaiting,
  keptMails,
  leaseSeconds,
  maxAttempts,
  openMail,
  putOffMail,
  retryAfterSeconds,
} from '../../src/mail/queue.ts';
import { MailFailure, type SendMail } from '../../src/mail/smtp.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const encryption = createEncryption([randomBytes(32)]);
const letters = createLetters({ brand: 'Northgate', origin: 'https://id.example' });
const hours = 3600 * 1000;

let database: OpenTestDatabase;
const instances: { background: Background; stop: () => void }[] = [];

beforeAll(async () => {
  database = await openTestDatabase();
});
afterEach(async () => {
  for (const { stop } of instances) stop();
  await Promise.all(instances.splice(0).map(({ background }) => background.close()));
  await database.db.delete(mails);
});
afterAll(() => database.close());

const mailTo = (to: string): Mail => ({
  template: 'verify-email',
  to,
  data: { path: '/x', hours: 24 },
  accountId: 'u_ada',
});
const enqueue = (to: string) => enqueueMail(database.db, encryption, mailTo(to));
const left = () => database.db.select().from(mails);

/** An instance that sends by `send`. */
function instance(send: SendMail) {
  const background = createBackground((name, error) => {
    throw new Error(name, { cause: error });
  });
  const log = pino({ level: 'silent' });
  const delivery = mailDelivery({ db: database.db, encryption, letters, send, background, log });
  instances.push({ background, stop: delivery.stop });
  return delivery;
}

test('a mail of a transaction that was rolled back is never sent', async () => {
  const work = database.db.transaction(async (tx) => {
    await enqueueMail(tx, encryption, mailTo('ada@moreno.example'));
    await notifyAccount(tx, encryption, { id: 'u_ada', email: 'ada@moreno.example' }, 'password-changed');
    throw new Error('no');
  });
  await expect(work).rejects.toThrow('no');
  expect(await left()).toEqual([]);
});

test('several instances send each mail once', async () => {
  const sent: string[] = [];
  const send: SendMail = async ({ to }) => void sent.push(to);
  for (let index = 0; index < 30; index += 1) await enqueue(`${index}@moreno.example`);
  for (const { wake } of [instance(send), instance(send), instance(send)]) wake();
  await vi.waitFor(async () => expect(await left()).toEqual([]), { timeout: 15_000 });
  expect(sent.toSorted()).toEqual(Array.from({ length: 30 }, (_, index) => `${index}@moreno.example`).toSorted());
});

test('one mail that hangs does not hold up the others', async () => {
  const sent: string[] = [];
  const send: SendMail = ({ to }, signal) =>
    to.startsWith('slow')
      ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(new MailFailure('ended', false))))
      : Promise.resolve(void sent.push(to));
  await enqueue('slow@moreno.example');
  for (let index = 0; index < 8; index += 1) await enqueue(`${index}@moreno.example`);
  instance(send).wake();
  await vi.waitFor(() => expect(sent).toHaveLength(8), { timeout: 15_000 });
  expect(await left()).toHaveLength(1);
});

test('the mail of an instance that died is taken over when its lease is over, not before', async () => {
  await enqueue('ada@moreno.example');
  const now = new Date();
  const claim = (seconds: number) => claimDueMails(database.db, 5, new Date(now.getTime() + seconds * 1000));
  expect(await claim(0)).toMatchObject([{ attempts: 1 }]);
  expect(await claim(leaseSeconds - 1)).toEqual([]);
  const again = await claim(leaseSeconds + 1);
  expect(again).toMatchObject([{ attempts: 2 }]);
  // The first was only slow: what it does with the row does not touch the second's lease.
  const [due] = again;
  await putOffMail(database.db, { ...(due as NonNullable<typeof due>), attempts: 1 }, now);
  expect((await left())[0]?.nextAttemptAt.getTime()).toBeGreaterThan(now.getTime() + leaseSeconds * 1000);
});

test('fresh mails go before those that failed', async () => {
  await enqueue('old@moreno.example');
  await database.db.update(mails).set({ attempts: 4, nextAttemptAt: new Date(0) });
  await enqueue('new@moreno.example');
  const [first] = await claimDueMails(database.db, 1);
  expect(openMail(encryption, first as NonNullable<typeof first>).to).toBe('new@moreno.example');
});

test('it is tried for three days, more and more seldom, and then given up', async () => {
  const days = retryAfterSeconds.reduce((sum, seconds) => sum + seconds, 0) / 86_400;
  expect(days).toBeGreaterThan(2.9);
  expect(days).toBeLessThan(3.1);
  expect([...retryAfterSeconds].toSorted((a, b) => a - b)).toEqual(retryAfterSeconds);
  await enqueue('ada@moreno.example');
  let attempts = 0;
  const { wake } = instance(async () => {
    attempts += 1;
    throw new MailFailure('answered 451 at DATA', false);
  });
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    await database.db.update(mails).set({ nextAttemptAt: new Date(0) });
    wake();
    await vi.waitFor(async () => {
      const [row] = await left();
      expect(attempts).toBe(attempt);
      const wait = ((row?.nextAttemptAt.getTime() ?? 0) - Date.now()) / 1000;
      if (attempt < maxAttempts) expect(Math.abs(wait - (retryAfterSeconds[attempt - 1] as number))).toBeLessThan(8);
      else expect(row).toBeUndefined();
    }, 15_000);
  }
  const events = await database.db.select().from(auditEvents).where(eq(auditEvents.event, 'mail.given-up'));
  expect(events).toMatchObject([{ accountId: 'u_ada', details: { attempts: maxAttempts } }]);
});

test('what cannot be opened or sealed for another row is not sent (SECURITY 57)', async () => {
  await enqueue('ada@moreno.example');
  await enqueue('eve@moreno.example');
  const rows = await left();
  expect(JSON.stringify(rows)).not.toMatch(/moreno/);
  const [one, two] = rows;
  if (!one || !two) throw new Error('no rows');
  await database.db.update(mails).set({ messageEncrypted: two.messageEncrypted }).where(eq(mails.id, one.id));
  const sent: string[] = [];
  instance(async ({ to }) => void sent.push(to)).wake();
  await vi.waitFor(async () => {
    expect(sent).toHaveLength(1);
    expect(await left()).toMatchObject([{ id: one.id, attempts: 1 }]);
  });
});

test('what was kept for the outbox page is never sent, and goes after a week', async () => {
  const now = Date.now();
  const earlier = { now: new Date(now - 1) };
  await enqueueMail(database.db, encryption, mailTo('ada@moreno.example'), earlier);
  await enqueueMail(database.db, encryption, mailTo('eve@moreno.example'), { now: new Date(now) });
  const kept = await keptMails(database.db, new Date(now));
  expect(kept.map((row) => openMail(encryption, row).to)).toEqual(['eve@moreno.example', 'ada@moreno.example']);
  expect(await claimDueMails(database.db, 5, new Date(now + hours))).toEqual([]);
  expect(await keptMails(database.db, new Date(now + 6 * 24 * hours))).toHaveLength(2);
  expect(await keptMails(database.db, new Date(now + 8 * 24 * hours))).toEqual([]);
});

test('in production without a mail server mails wait for one as long as they would be tried', async () => {
  await enqueue('ada@moreno.example');
  expect(await giveUpWaiting(database.db, new Date(Date.now() + 70 * hours))).toBe(0);
  expect(await giveUpWaiting(database.db, new Date(Date.now() + 73 * hours))).toBe(1);
  expect(await left()).toEqual([]);
});

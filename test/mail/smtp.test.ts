/** Mail as a mail server gets it: a server that is slow, down or says no loses nothing and delays nobody. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { eq } from 'drizzle-orm';
import { expect, onTestFinished, test, vi } from 'vitest';
import { auditEvents, mails } from '../../src/db/schema.ts';
import { createSmtp, type MailFailure } from '../../src/mail/smtp.ts';
import { mailSettings } from '../../src/mail/start.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { listen } from '../support/listen.ts';
import { bodyOf, headerOf, type MailServerOptions, refuseWith, startMailServer } from '../support/mail-server.ts';
import { registerAccount } from '../support/relying-party.ts';

async function mailServer(options: MailServerOptions = {}) {
  const server = await startMailServer(options);
  onTestFinished(server.close);
  return server;
}

const appWith = (url: string) =>
  startAppForTest({ env: { SMTP_URL: url, MAIL_FROM: 'Fernwood <id@fernwood.example>' } });

const queued = ({ database: { db } }: TestApp) => db.select().from(mails);

/** As if the time of the next attempt had come; a form that is answered has the worker look. Once: one under way would be begun again. */
async function makeDue({ origin, database: { db } }: TestApp): Promise<void> {
  await db.update(mails).set({ nextAttemptAt: new Date() });
  await fetch(`${origin}/auth/logout`, { method: 'POST' });
}

/** Long enough for the worker to look by itself. */
const soon = { timeout: 20_000, interval: 50 };

test('a mail is sent as soon as the form is answered, from the configured sender, and nothing of it is kept', async () => {
  const server = await mailServer({ user: { name: 'id@fernwood', password: 'p@ss:word' } });
  const app = await appWith(server.url);
  const { email } = await registerAccount(app);
  await vi.waitFor(() => expect(server.received).toHaveLength(1), soon);
  const [mail] = server.received;
  if (!mail) throw new Error('no mail');
  expect(mail).toMatchObject({ from: 'id@fernwood.example', to: [email] });
  expect(headerOf(mail, 'From')).toBe('Fernwood <id@fernwood.example>');
  expect(headerOf(mail, 'To')).toBe(email);
  expect(headerOf(mail, 'Subject')).toBe('Check your email address');
  expect(headerOf(mail, 'Auto-Submitted')).toBe('auto-generated');
  expect(headerOf(mail, 'Message-ID')).toMatch(/^<[\w-]{22}@127\.0\.0\.1>$/);
  expect(headerOf(mail, 'Content-Type')).toMatch(/^multipart\/alternative/);
  expect(bodyOf(mail)).toMatch(new RegExp(`${app.origin}/auth/verify-email\\?token=[\\w-]{43}\\s`));
  await vi.waitFor(async () => expect(await queued(app)).toEqual([]), soon);
  expect(JSON.stringify(app.log)).not.toContain(email);
  expect((await fetch(`${app.origin}/dev/outbox`)).status).toBe(404);
});

test('a mail server that is down loses nothing: mails go out once it is back', async () => {
  const gone = await startMailServer();
  await gone.close();
  const app = await appWith(gone.url);
  await registerAccount(app);
  await vi.waitFor(async () => {
    expect(app.log).toContainEqual(expect.objectContaining({ reason: expect.stringMatching(/^E\w+/), attempts: 1 }));
    const [row] = await queued(app);
    expect(row?.nextAttemptAt.getTime()).toBeGreaterThan(Date.now());
  }, soon);
  const back = await mailServer({ port: gone.port });
  await makeDue(app);
  await vi.waitFor(() => expect(back.received).toHaveLength(1), soon);
  await vi.waitFor(async () => expect(await queued(app)).toEqual([]), soon);
});

test('a mail server that hangs delays no answer, and no end of the process', async () => {
  const silent = createServer(() => {});
  const url = `smtp://127.0.0.1:${await listen(silent)}`;
  const app = await startApp({ env: { SMTP_URL: url, MAIL_FROM: 'id@fernwood.example' } });
  const connected = once(silent, 'connection');
  await registerAccount(app);
  await connected;
  for (let index = 0; index < 6; index += 1) await registerAccount(app);
  expect(await queued(app)).toHaveLength(7);
  await app.close();
  silent.close();
});

test('a server that says “later” is asked again', async () => {
  let busy = true;
  const server = await mailServer({ onRecipient: () => busy && refuseWith(451) });
  const app = await appWith(server.url);
  await registerAccount(app);
  await vi.waitFor(
    () => expect(app.log).toContainEqual(expect.objectContaining({ reason: 'answered 451 at RCPT TO' })),
    soon,
  );
  expect(await queued(app)).toHaveLength(1);
  busy = false;
  await makeDue(app);
  await vi.waitFor(() => expect(server.received).toHaveLength(1), soon);
});

test('a recipient who is refused for good is given up at once, and that is recorded without the address', async () => {
  const server = await mailServer({ onRecipient: () => refuseWith(550) });
  const app = await appWith(server.url);
  const { sub, email } = await registerAccount(app);
  await vi.waitFor(async () => expect(await queued(app)).toEqual([]), soon);
  const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.event, 'mail.given-up'));
  expect(events).toMatchObject([
    {
      accountId: sub,
      outcome: 'failure',
      details: { mail: 'verify-email', attempts: 1, reason: 'answered 550 at RCPT TO' },
    },
  ]);
  await vi.waitFor(() => expect(app.log).toContainEqual(expect.objectContaining({ msg: 'mail given up' })), soon);
  expect(JSON.stringify([events, app.log])).not.toContain(email);
});

test('a sign-in that the mail server refuses is the operator’s to mend, so the mail stays', async () => {
  const server = await mailServer({ user: { name: 'id', password: 'right' } });
  const app = await appWith(server.url.replace(':right@', ':wrong@'));
  await registerAccount(app);
  await vi.waitFor(
    () => expect(app.log).toContainEqual(expect.objectContaining({ reason: expect.stringContaining('answered 535') })),
    soon,
  );
  expect(await queued(app)).toHaveLength(1);
  expect(JSON.stringify(app.log)).not.toMatch(/wrong@|:wrong/);
});

test('a mail whose answer was lost is sent again under the same Message-ID', async () => {
  let first = true;
  const server = await mailServer({
    onMail: (_mail, sever) => {
      if (first) sever();
      first = false;
    },
  });
  const app = await appWith(server.url);
  await registerAccount(app);
  await vi.waitFor(() => expect(app.log).toContainEqual(expect.objectContaining({ attempts: 1 })), soon);
  await makeDue(app);
  await vi.waitFor(() => expect(server.received).toHaveLength(2), soon);
  const [one, two] = server.received.map((mail) => headerOf(mail, 'Message-ID'));
  expect(one).toBeDefined();
  expect(two).toBe(one);
  await vi.waitFor(async () => expect(await queued(app)).toEqual([]), soon);
});

test('in production nothing is said before the connection is encrypted, this machine’s own apart', async () => {
  const settings = (smtpUrl: string, production = true) =>
    mailSettings({ production, origin: 'https://id.example', smtpUrl, mailFrom: undefined });
  expect(settings('smtp://mail.example')).toMatchObject({
    mode: 'send',
    from: 'no-reply@id.example',
    requireTls: true,
  });
  expect(settings('smtp://mail.example', false)).toMatchObject({ requireTls: false });
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]']) {
    expect(settings(`smtp://${host}:25`)).toMatchObject({ requireTls: false });
  }
  expect(settings('smtp://127.0.0.1.example')).toMatchObject({ requireTls: true });

  const server = await mailServer();
  const send = createSmtp({
    url: server.url,
    from: 'id@fernwood.example',
    origin: 'https://id.example',
    requireTls: true,
  });
  const mail = { id: 'x', createdAt: new Date(), to: 'ada@moreno.example', subject: 's', text: 't', html: 'h' };
  const refused = (await send(mail, new AbortController().signal).catch((error) => error)) as MailFailure;
  expect([refused.name, refused.final]).toEqual(['MailFailure', false]);
  expect(server.received).toEqual([]);
});

test('without a mail server mails are kept in development and wait in production', () => {
  const none = { origin: 'https://id.example', smtpUrl: undefined, mailFrom: undefined };
  expect(mailSettings({ production: false, ...none })).toEqual({ mode: 'keep' });
  expect(mailSettings({ production: true, ...none })).toEqual({ mode: 'wait' });
});

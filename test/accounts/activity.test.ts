/** What happened of late, for the person whom it concerns and in plain words. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditEventMeanings } from '../../src/audit/events.ts';
import { auditEvents } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person, readText } from '../support/person.ts';
import { discover, registerAccount, registerClient, signIn, signInThrough } from '../support/relying-party.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

async function newPerson(): Promise<{ person: Person; account: Awaited<ReturnType<typeof registerAccount>> }> {
  const account = await registerAccount(app);
  const person = createPerson(app.origin, {
    'user-agent': 'Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0',
  });
  await signIn(person, await person.open('/auth/login'), account);
  return { person, account };
}

const form = (body: Record<string, string> = {}) => ({ method: 'POST', body: new URLSearchParams(body) });
const activity = async (person: Person, path = '/account/activity') => readText((await person.open(path)).html);

test('sign-ins, wrong passwords, changes and apps are told, newest first, with where it was', async () => {
  const { person, account } = await newPerson();
  const stranger = createPerson(app.origin, { 'user-agent': 'curl/8.5.0' });
  await stranger.request('/auth/login', form({ email: account.email, password: 'wrong one' }));
  await person.request('/account/profile', form({ nickname: 'A' }));
  const client = await registerClient(app, { client_name: 'Fernwood <Library>' });
  await signInThrough(app, await discover(app, client), account, { person });
  await person.request(`/account/apps/${client.client_id}/disconnection`, form());
  const text = await activity(person);
  const told = [
    /You disconnected Fernwood <Library>\.\s+Firefox on Windows · 127\.0\.0\.1/,
    /You changed your profile\.\s+Firefox on Windows · 127\.0\.0\.1/,
    /Somebody tried to sign in, and the password was wrong\.\s+curl · 127\.0\.0\.1\s+Refused/,
  ];
  const places = told.map((words) => text.search(words));
  expect([places.every((place) => place > 0), places]).toEqual([true, places.toSorted((a, b) => a - b)]);
  const other = await newPerson();
  expect(await activity(other.person)).not.toMatch(/Fernwood|wrong/);
});

test('older than 90 days is not told, and what is no person’s concern neither', async () => {
  const { person, account } = await newPerson();
  const days = (count: number) => new Date(Date.now() - count * 24 * 60 * 60 * 1000);
  const { db } = app.database;
  await db.insert(auditEvents).values([
    { event: 'email.changed', accountId: account.sub, at: days(91) },
    { event: 'totp.removed', accountId: account.sub, at: days(89) },
    { event: 'logout.delivered', accountId: account.sub },
  ]);
  const text = await activity(person);
  expect(text).toContain('You turned two-step sign-in off.');
  expect(text).not.toMatch(/email address changed|logout/);
});

test('comes in pages, each with the way to the next', async () => {
  const { person, account } = await newPerson();
  const row = (name: string) => ({ event: 'passkey.renamed', accountId: account.sub, details: { name } });
  await app.database.db.insert(auditEvents).values(Array.from({ length: 120 }, (_, each) => row(`key ${each}`)));
  const seen: string[] = [];
  for (let path: string | undefined = '/account/activity'; path; ) {
    const { html, status } = await person.open(path);
    expect(status).toBe(200);
    seen.push(...[...html.matchAll(/passkey \(key (\d+)\)/g)].map(([, each]) => each ?? ''));
    path = /<a href="([^"]+)">Older<\/a>/.exec(html)?.[1];
  }
  expect(seen).toEqual(Array.from({ length: 120 }, (_, each) => String(119 - each)));
  for (const before of ['0', '-1', 'x', '1e9', '9'.repeat(30), "1'--", '%00'])
    expect((await person.open(`/account/activity?before=${before}`)).status).toBe(200);
});

test('every event has its words, or is one that people are not told of', async () => {
  const { person, account } = await newPerson();
  const events = Object.keys(auditEventMeanings);
  await app.database.db.insert(auditEvents).values(events.map((event) => ({ event, accountId: account.sub })));
  const text = await activity(person);
  for (const event of events) expect(text).not.toContain(event);
  expect(text).not.toMatch(/undefined|null|\(\)/);
});

/** Where a person is signed in: seen, recognised, and ended from any of the browsers (SECURITY 35). */
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { auditEvents, backchannelLogouts, oidcSessions } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person, readText } from '../support/person.ts';
import {
  discover,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
  signInThrough,
} from '../support/relying-party.ts';

let app: TestApp;
let rp: RelyingParty;
let ada: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
  rp = await discover(app, await registerClient(app));
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const iPhone =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1';

const at = (address: string, userAgent: string) =>
  createPerson(app.origin, { 'x-forwarded-for': address, 'user-agent': userAgent });

async function signedIn(person: Person): Promise<Person> {
  await signIn(person, await person.open('/auth/login'), ada);
  return person;
}

/** Two browsers of a new person. */
async function twoBrowsers(): Promise<{ home: Person; phone: Person }> {
  ada = await registerAccount(app);
  const home = await signedIn(at('203.0.113.24', firefox));
  // The one in which the account was made.
  await post(home, '/account/sessions/end-others');
  return { home, phone: await signedIn(at('198.51.100.7', iPhone)) };
}

const post = (person: Person, path: string) => person.open(path, { method: 'POST', body: new URLSearchParams() });
const isSignedIn = async (person: Person) => (await person.request('/account')).status === 200;
const rows = () => app.database.db.select().from(oidcSessions).where(eq(oidcSessions.accountId, ada.sub));
const endOf = (html: string) =>
  [...html.matchAll(/action="(\/account\/sessions\/[\w-]+\/end)"/g)].map(([, path]) => path);

describe('the list', () => {
  test('has each browser in words, its address, since when, and marks this one', async () => {
    const { home, phone } = await twoBrowsers();
    const [one, other] = [await home.open('/account/sessions'), await phone.open('/account/sessions')];
    const text = readText(one.html);
    expect(text).toMatch(/Firefox on Linux\s+This browser\s+203\.0\.113\.24 · Signed in \d+ \w+ 20\d\d, \d\d:\d\d UTC/);
    expect(text).toMatch(/Safari on iPhone\s+198\.51\.100\.7 · Signed in .* · Last used/);
    expect(readText(other.html)).toMatch(/Safari on iPhone\s+This browser/);
    // Nothing on the page is a credential, or leads to one.
    for (const { uid } of await rows()) expect(one.html).not.toContain(uid);
  });

  test('has no ended or expired session and none of another person', async () => {
    const { home, phone } = await twoBrowsers();
    const mallory = await registerAccount(app);
    const stranger = at('192.0.2.66', 'curl/8.5.0');
    await signIn(stranger, await stranger.open('/auth/login'), mallory);
    expect(readText((await stranger.open('/account/sessions')).html)).toMatch(/curl\s+This browser/);
    await post(phone, '/auth/logout');
    const { html } = await home.open('/account/sessions');
    expect([endOf(html), html.includes('192.0.2.66')]).toEqual([[], false]);
    expect(html).not.toContain('id="sign-out-others"');
  });

  test('knows the hour of the last use, which costs a statement once an hour', async () => {
    const { home, phone } = await twoBrowsers();
    const before = await rows();
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 30 * 60_000);
    await phone.open('/account');
    expect((await rows()).map(({ lastSeenAt }) => lastSeenAt)).toEqual(before.map(({ lastSeenAt }) => lastSeenAt));
    vi.setSystemTime(Date.now() + 31 * 60_000);
    await phone.open('/account');
    const used = (await rows()).filter(({ lastSeenAt }) => lastSeenAt?.getTime() === Date.now());
    expect(used).toMatchObject([{ address: '198.51.100.7' }]);
    const shown = new Date().toISOString().slice(11, 16);
    expect(readText((await home.open('/account/sessions')).html)).toContain(`${shown} UTC`);
  });
});

describe('ending', () => {
  test('one ends it for every client at once, and no other', async () => {
    const { home, phone } = await twoBrowsers();
    const there = await signInThrough(app, rp, ada, { person: phone });
    const here = await signInThrough(app, rp, ada, { person: home });
    const [path = ''] = endOf((await home.open('/account/sessions')).html);
    const page = await post(home, path);
    expect(readText(page.html)).toContain('That browser is signed out.');
    expect([await isSignedIn(phone), await isSignedIn(home)]).toEqual([false, true]);
    expect((await rp.introspect(there.tokens.access_token)).active).toBe(false);
    expect((await rp.introspect(here.tokens.access_token)).active).toBe(true);
    const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, ada.sub));
    expect(events.find(({ event }) => event === 'session.ended')).toMatchObject({ address: '203.0.113.24' });
    // Twice is as good as once.
    expect((await post(home, path)).status).toBe(200);
  });

  test('all others leaves this one', async () => {
    const { home, phone } = await twoBrowsers();
    const third = await signedIn(at('192.0.2.9', 'Safari'));
    const page = await home.submit(await home.open('/account/sessions'), 'sign-out-others');
    expect(readText(page.html)).toContain('All other browsers are signed out.');
    expect([await isSignedIn(phone), await isSignedIn(third), await isSignedIn(home)]).toEqual([false, false, true]);
  });

  test('all, this one too', async () => {
    const { home, phone } = await twoBrowsers();
    const page = await home.submit(await home.open('/account/sessions'), 'sign-out');
    expect(page.url).toBe(`${app.origin}/`);
    expect([await isSignedIn(phone), await isSignedIn(home)]).toEqual([false, false]);
  });

  test('tells clients by back-channel logout', async () => {
    const { home, phone } = await twoBrowsers();
    // Nothing listens there, so the message stays queued.
    const client = await registerClient(app, { backchannel_logout_uri: 'http://127.0.0.1:9/logout' });
    await signInThrough(app, await discover(app, client), ada, { person: phone });
    await post(home, endOf((await home.open('/account/sessions')).html)[0] ?? '');
    const left = await app.database.db
      .select()
      .from(backchannelLogouts)
      .where(eq(backchannelLogouts.clientId, client.client_id));
    expect(left).toMatchObject([{ accountId: ada.sub, sid: expect.any(String) }]);
  });

  test('a session of somebody else does nothing, whatever names it', async () => {
    const { home, phone } = await twoBrowsers();
    const [path = ''] = endOf((await home.open('/account/sessions')).html);
    const [{ uid = '' } = {}] = await rows();
    const owner = ada;
    ada = await registerAccount(app);
    const mallory = await signedIn(at('192.0.2.66', firefox));
    await post(mallory, path);
    await post(mallory, `/account/sessions/${uid}/end`);
    await post(mallory, '/account/sessions/end-others');
    const program = { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json' } };
    expect((await mallory.request(path, program)).status).toBe(404);
    expect((await mallory.request('/account/sessions/a%00b/end', program)).status).toBe(404);
    ada = owner;
    expect([await isSignedIn(phone), await isSignedIn(home)]).toEqual([true, true]);
  });
});

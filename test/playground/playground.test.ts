/** The playground from the start page on, as a newcomer clicks through it: no JavaScript, everything over HTTP. */
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { consents, oidcClients, playgroundRuns, throttles } from '../../src/db/schema.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { createPerson, type Page, type Person, readCheckboxes, readForm, readText } from '../support/person.ts';
import { password } from '../support/relying-party.ts';

let app: TestApp;
let person: Person;
let email = '';
let count = 0;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

beforeEach(async () => {
  await app.database.db.delete(throttles);
  person = createPerson(app.origin);
  count += 1;
  email = `ada${count}@moreno.example`;
  const page = await person.open('/auth/register');
  await person.submit(page, 'register', { email, password, name: 'Ada <Moreno>' }, 'register-submit');
});

const everything = ['openid', 'profile', 'email', 'offline_access'];

/** From the start page to the consent page. */
async function start(): Promise<Page> {
  return person.submit(await person.open('/playground'), 'playground-start');
}

async function run(scopes: string[] = everything): Promise<Page> {
  return person.submit(await start(), 'consent', { scope: scopes }, 'consent-approve');
}

/** The headings of the steps, and the words of each. */
function steps(page: Page): { titles: string[]; last: string; all: string[] } {
  const items = page.html.split('<li id="step-').slice(1);
  const all = items.map((html) => readText(html.slice(html.indexOf('>') + 1).split('</ol>')[0] ?? ''));
  const titles = items.map((html) => readText(/<h2>(.*?)<\/h2>/.exec(html)?.[1] ?? ''));
  return { titles, all, last: all.at(-1) ?? '' };
}

const signInSteps = [
  'Find the addresses',
  'Ask for a sign-in',
  'Come back with a code',
  'Swap the code for tokens',
  'Read the ID token',
  'Ask who they are',
];

test('three clicks after registering: from the start page to decoded tokens', async () => {
  const home = await person.open('/');
  expect(home.html).toContain('href="/playground"');
  const playground = await person.open('/playground');
  expect(playground.html.match(/class="btn main"/g)).toHaveLength(1);
  const consent = await person.submit(playground, 'playground-start', {}, 'playground-start-submit');
  expect(readCheckboxes(consent.html, 'scope')).toMatchObject({ profile: true, email: true, offline_access: false });
  const page = await person.submit(consent, 'consent', { scope: everything }, 'consent-approve');

  expect(page).toMatchObject({ url: `${app.origin}/playground/run`, status: 200 });
  expect(page.headers.get('cache-control')).toBe('no-store');
  const { titles, all } = steps(page);
  expect(titles).toEqual(signInSteps);
  expect(all[0]).toMatch(/GET \/oidc\/\.well-known\/openid-configuration 200 \d+ ms/);
  expect(all[1]).toContain('code_challenge_method =S256');
  expect(all[2]).toContain('state matches iss matches');
  expect(all[3]).toMatch(/POST \/oidc\/token 200 \d+ ms/);
  expect(all[3]).toContain('"refresh_token"');
  expect(all[4]).toMatch(/Signature verified\. RS256, with key [\w-]{43} from \/oidc\/jwks/);
  expect(all[4]).toContain('It matches the address that was asked.');
  expect(all[4]).toContain('It came back unchanged');
  expect(all[5]).toContain('sub matches');
  expect(all[5]).toContain(`"name" : "Ada <Moreno>"`);
  expect(page.html).not.toContain('Ada <Moreno>');
  expect(page.html).not.toContain('class="badge bad"');
});

test('somebody who is not signed in signs in on the way', async () => {
  await person.open('/auth/logout', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  const signIn = await start();
  const consent = await person.submit(signIn, 'login', { email, password }, 'login-submit');
  const page = await person.submit(consent, 'consent', { scope: ['openid'] }, 'consent-approve');
  expect(steps(page).titles).toEqual(signInSteps);
  expect(steps(page).last).not.toContain(email);
});

describe('after the sign-in', () => {
  test('refresh brings new tokens every time, and verifies them', async () => {
    const before = await run();
    const once = await person.submit(before, 'playground-refresh');
    const twice = await person.submit(once, 'playground-refresh');
    const { titles, all } = steps(twice);
    expect(titles.slice(6)).toEqual(['Get new tokens', 'Get new tokens']);
    for (const step of all.slice(6)) expect(step).toContain('new ID token verified sub matches');
    const sent = all.slice(6).map((step) => /refresh_token =([\w-]+)/.exec(step)?.[1]);
    expect(new Set(sent).size).toBe(2);
  });

  test('introspection says that the token works, and after revocation that it does not', async () => {
    const active = await person.submit(await run(), 'playground-introspection');
    expect(steps(active).last).toContain('It does: active is true');
    expect(steps(active).last).toContain('"client_id" : "playground"');
    const revoked = await person.submit(active, 'playground-revocation');
    expect(steps(revoked).titles.slice(7)).toEqual(['Take the access back', 'Ask if the token still works']);
    expect(steps(revoked).last).toContain('It doesn’t: active is false');
    const refused = await person.submit(revoked, 'playground-refresh');
    expect(steps(refused).last).toContain('The server said no: invalid_grant.');
  });

  test('without offline access there is no refresh token, and the page says how to get one', async () => {
    const page = await run(['openid', 'email']);
    expect(readText(page.html)).toContain(
      'There’s no refresh token. Run it again and tick “Stay connected while you’re away”.',
    );
    const revoked = await person.submit(page, 'playground-revocation');
    expect(steps(revoked).all[6]).toContain('Revoking the access token');
    expect(steps(revoked).last).toContain('active is false');
    const forced = await person.open('/playground/run/refresh', { method: 'POST', headers: { origin: app.origin } });
    expect(steps(forced).last).toContain('Run it again and tick it to get one.');
    const again = await person.submit(forced, 'playground-start');
    expect(readCheckboxes(again.html, 'scope')).toHaveProperty('offline_access');
  });

  test('sign-out goes to the server and comes back with its state', async () => {
    const logout = await person.submit(await run(), 'playground-sign-out');
    expect(new URL(logout.url).pathname).toBe('/oidc/session/end');
    const page = await person.submit(logout, 'logout', {}, 'logout-confirm');
    expect(page.url).toBe(`${app.origin}/playground/run#step-8`);
    expect(steps(page).titles.slice(6)).toEqual(['Ask to sign out', 'Come back from signing out']);
    expect(steps(page).last).toContain('state matches');
    expect((await person.request('/account')).status).toBe(303);
  });

  test('what is pressed twice at once is written down twice', async () => {
    await run();
    const press = () => person.request('/playground/run/introspection', { method: 'POST' });
    await Promise.all([press(), press(), press()]);
    expect(steps(await person.open('/playground/run')).titles).toHaveLength(9);
  });

  test('a run holds so many steps and no more', async () => {
    await run();
    for (let i = 0; i < 54; i += 1) await person.request('/playground/run/introspection', { method: 'POST' });
    const full = await person.open('/playground/run');
    expect(steps(full).titles).toHaveLength(60);
    expect(full.html).not.toContain('id="playground-introspection"');
    expect(full.html).toContain('id="playground-start"');
    await person.request('/playground/run/introspection', { method: 'POST' });
    await person.request('/playground/run/sign-out', { method: 'POST' });
    expect(steps(await person.open('/playground/run')).titles).toHaveLength(60);
  });
});

describe('what can go wrong', () => {
  test('not allowing it is a step like any other, with a way on', async () => {
    const page = await person.submit(await start(), 'consent', {}, 'consent-deny');
    expect(steps(page).titles).toEqual(['Find the addresses', 'Ask for a sign-in', 'Come back without a code']);
    expect(steps(page).last).toContain('You didn’t allow it.');
    expect((await person.submit(page, 'playground-start')).html).toContain('id="consent"');
  });

  test('an answer is redeemed once, however often its address is loaded', async () => {
    const { address } = await answerOf(await start());
    await Promise.all([person.request(address), person.request(address), person.request(address)]);
    const page = await person.open(address);
    expect(page.url).toBe(`${app.origin}/playground/run`);
    expect(steps(page).titles).toEqual(signInSteps);
  });

  test('a code that the server does not know is refused in plain words', async () => {
    const { address, code } = await answerOf(await start());
    const forged = new URL(address);
    forged.searchParams.set('code', `${code}x`);
    const page = await person.open(forged.href);
    expect(steps(page).last).toContain('The server said no: invalid_grant.');
    expect(page.html).toContain('id="playground-start"');
  });

  test.each([
    ['no state', (query: URLSearchParams) => query.delete('state')],
    ['another state', (query: URLSearchParams) => query.set('state', 'x')],
    ['two states', (query: URLSearchParams) => query.append('state', 'x')],
  ])('an answer with %s is not taken, and the right one still is', async (_, change) => {
    const { address } = await answerOf(await start());
    const changed = new URL(address);
    change(changed.searchParams);
    const refused = await person.open(changed.href);
    expect(refused.status).toBe(400);
    expect(refused.html).toContain('This answer belongs to another run');
    expect(steps(await person.open(address)).titles).toEqual(signInSteps);
  });

  test.each(['https://other.example/oidc', undefined])('an answer from the issuer %s is not used', async (iss) => {
    const { address } = await answerOf(await start());
    const changed = new URL(address);
    if (iss) changed.searchParams.set('iss', iss);
    else changed.searchParams.delete('iss');
    const page = await person.open(changed.href);
    expect(steps(page).last).toContain('Another server answered.');
    expect(steps(page).last).toContain('iss does not match');
    expect(steps(await person.open(address)).titles).toHaveLength(3);
  });

  test('a run ends after an hour, and the page offers another', async () => {
    await run();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_001 });
    try {
      for (const path of ['/playground/run', '/playground/return?state=x&code=y']) {
        const page = await person.open(path);
        expect(page.status).toBe(404);
        expect(page.html).toContain('This run is gone');
        expect(page.html).toContain('href="/playground"');
      }
      for (const action of ['refresh', 'introspection', 'revocation', 'sign-out']) {
        const page = await person.open(`/playground/run/${action}`, { method: 'POST' });
        expect(page.html).toContain('This run is gone');
      }
      expect((await person.open('/playground')).html).not.toContain('See your last run');
    } finally {
      vi.useRealTimers();
    }
  });

  test('an issuer that does not answer is a step that says so', async () => {
    const real = globalThis.fetch;
    vi.spyOn(globalThis, 'fetch').mockImplementation((input, init) =>
      String(input).endsWith('/openid-configuration')
        ? Promise.reject(new TypeError('fetch failed'))
        : real(input, init),
    );
    try {
      const page = await start();
      expect(page.url).toBe(`${app.origin}/playground/run`);
      expect(steps(page).last).toContain(`No answer from ${app.origin}.`);
      expect(page.html).toContain('role="alert"');
      expect(page.html).toContain('id="playground-start"');
    } finally {
      vi.restoreAllMocks();
    }
  });

  test('an unknown step is a 404, and so is a run without its cookie', async () => {
    await run();
    expect((await person.request('/playground/run/elsewhere', { method: 'POST' })).status).toBe(404);
    const stranger = createPerson(app.origin);
    expect((await stranger.open('/playground/run')).html).toContain('This run is gone');
  });

  test.each(['/playground/runs', '/playground/run/refresh', '/playground/run/sign-out'])(
    'another site cannot post to %s (SECURITY 28)',
    async (path) => {
      await run();
      const foreign = { method: 'POST', headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' } };
      expect((await person.request(path, foreign)).status).toBe(403);
      expect(steps(await person.open('/playground/run')).titles).toHaveLength(6);
    },
  );

  /** Where the consent page would send the browser. */
  async function answerOf(consent: Page): Promise<{ address: string; code: string }> {
    const { action } = readForm(consent.html, 'consent');
    const body = new URLSearchParams({ decision: 'allow' });
    for (const scope of everything) body.append('scope', scope);
    let response = await person.request(action, { method: 'POST', body });
    while (!response.headers.get('location')?.includes('/playground/return')) {
      expect(response.status).toBe(303);
      response = await person.request(response.headers.get('location') ?? '');
    }
    const address = response.headers.get('location') ?? '';
    return { address, code: new URL(address).searchParams.get('code') ?? '' };
  }
});

test('what a run remembers is unreadable in the database, and its cookie stays with the playground', async () => {
  await app.database.db.delete(playgroundRuns);
  const page = await run();
  const rows = await app.database.db.select().from(playgroundRuns);
  expect(rows).toHaveLength(1);
  const stored = JSON.stringify(rows);
  const token = /"access_token" : "([\w-]+)"/.exec(readText(page.html))?.[1] ?? 'none';
  expect(token).toHaveLength(43);
  expect(stored).not.toContain(token);
  const cookie = [...person.jar].find(([name]) => name.startsWith('latchkey_playground'));
  expect(cookie?.[1].path).toBe('/playground');
  expect(stored).not.toContain(cookie?.[1].value);

  const started = await person.request('/playground/runs', { method: 'POST' });
  expect(started.headers.get('set-cookie')).toMatch(/Path=\/playground; .*HttpOnly; SameSite=Lax/);
  expect(await app.database.db.select().from(playgroundRuns)).toHaveLength(1);
});

test('nothing that was shown reaches the log', async () => {
  const page = await run();
  const token = /"access_token" : "([\w-]+)"/.exec(readText(page.html))?.[1] ?? 'none';
  await person.submit(page, 'playground-sign-out');
  const log = JSON.stringify(app.log);
  expect(log).not.toContain(token);
  expect(log).not.toContain('id_token_hint');
});

test('in production there is neither it nor an outbox, unless the operator asks for it', async () => {
  const production = await startAppForTest({ env: { NODE_ENV: 'production' } });
  for (const path of ['/playground', '/dev/outbox']) {
    expect([path, (await fetch(production.origin + path)).status]).toEqual([path, 404]);
  }
});

test('switched off, it is gone: pages, client and what people allowed it', async () => {
  const on = await startAppForTest({ env: { PLAYGROUND: 'on' } });
  person = createPerson(on.origin);
  const register = await person.open('/auth/register');
  await person.submit(register, 'register', { email, password, name: 'Ada' }, 'register-submit');
  expect(steps(await run()).titles).toEqual(signInSteps);
  const { db } = on.database;
  expect(await db.select().from(consents)).toHaveLength(1);

  const off = await startAppForTest({ env: { PLAYGROUND: 'off' }, database: { url: on.databaseUrl } });
  const newcomer = createPerson(off.origin);
  expect((await newcomer.open('/playground')).status).toBe(404);
  expect((await newcomer.open('/')).html).not.toContain('/playground');
  expect(await db.select().from(oidcClients).where(eq(oidcClients.clientId, 'playground'))).toEqual([]);
  expect(await db.select().from(consents)).toEqual([]);
});

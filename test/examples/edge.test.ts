/** The edge example as a client: people sign in at a Worker in workerd, stay signed in, and sign out. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { updateApi } from '../../src/apis/apis.ts';
import { endSessionsOf } from '../../src/oidc/session-end.ts';
import { expectHeading, press, signIn } from '../browser/steps.ts';
import { visit } from '../browser/visitor.ts';
import { launchBrowser } from '../support/browser.ts';
import { createPerson, type Person, readText } from '../support/person.ts';
import { allow, registerAccount } from '../support/relying-party.ts';
import {
  askJson,
  boxes,
  cookieName,
  copyOf,
  type Edge,
  reachCallback,
  signInAtEdge,
  startEdge,
  tidesApi,
} from './edge-fixture.ts';

let edge: Edge;
let browser: Browser;
beforeAll(async () => {
  [edge, browser] = await Promise.all([startEdge(), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await edge.close();
});

test('a person is refused, signs in, is accepted, reports, and signs out', async () => {
  const { email } = await registerAccount(edge.app);
  const { page, context } = await visit(browser);
  await page.goto(`${edge.origin}/resource/tides`);
  await expectHeading(page, 'You are not signed in');
  await page.getByRole('link', { name: 'Sign in with Latchkey' }).click();
  await signIn(page, { email });
  await expectHeading(page, 'Tidewater wants to use your account');
  for (const box of await page.getByRole('checkbox').all()) await box.check();
  await press(page, 'Allow');
  await expectHeading(page, 'Tides of the harbour');
  expect(page.url()).toBe(`${edge.origin}/resource/tides`);
  expect(await page.locator('.verdict').textContent()).toContain('Accepted.');

  const cookies = await context.cookies(edge.origin);
  expect(cookies).toMatchObject([
    { name: cookieName, domain: 'localhost', path: '/', secure: true, httpOnly: true, sameSite: 'Lax' },
  ]);

  await page.getByLabel('Water level in metres').fill('3.4');
  await press(page, 'Report');
  await expectHeading(page, 'Tides of the harbour');
  expect(await page.locator('#reading').textContent()).toContain('3.4 m');

  await page.goto(edge.origin);
  await expectHeading(page, 'Signed in as Ada Moreno');
  await press(page, 'Sign out');
  await expectHeading(page, 'Sign out?');
  await press(page, 'Sign out');
  await page.waitForURL(`${edge.origin}/`);
  expect(await context.cookies(edge.origin)).toEqual([]);
  await page.goto(`${edge.origin}/resource/tides`);
  await expectHeading(page, 'You are not signed in');
});

describe('coming back from the provider', () => {
  const refused = 'This sign-in did not work';

  test('a callback works once, whoever has the address and whoever has the cookie too', async () => {
    const { person, callback } = await reachCallback(edge);
    const thief = copyOf(person);
    expect((await createPerson(edge.origin).open(callback)).status).toBe(400);
    expect((await person.open(callback)).url).toBe(`${edge.origin}/`);
    const again = await person.open(callback);
    expect([again.status, readText(again.html)]).toEqual([400, expect.stringContaining(refused)]);
    expect(again.html).toContain('Sign in again');
    expect(again.html).toContain('Back to the start');
    const late = await thief.open(callback);
    expect([late.status, readText(late.html)]).toEqual([400, expect.stringContaining('answered invalid_grant')]);
    expect(thief.jar.size).toBe(0);
  });

  test('a forged state, issuer or error signs nobody in or out, and the real sign-in goes on', async () => {
    const { person, callback } = await reachCallback(edge);
    const forgeries: Record<string, string>[] = [
      { state: 'forged' },
      { iss: 'https://elsewhere.example' },
      { iss: '' },
      { code: '', error: 'access_denied', state: 'forged' },
      { code: '', state: '', iss: '' },
    ];
    for (const forgery of forgeries) {
      const url = new URL(callback);
      for (const [name, value] of Object.entries(forgery)) url.searchParams.set(name, value);
      for (const [name, value] of [...url.searchParams]) if (value === '') url.searchParams.delete(name);
      const page = await person.open(url.href);
      expect([url.search, page.status, page.headers.getSetCookie()]).toEqual([url.search, 400, []]);
      expect(readText(page.html)).toContain(refused);
    }
    expect((await person.open(callback)).url).toBe(`${edge.origin}/`);
    expect((await askJson(person, '/resource/tides')).status).toBe(200);
  });

  test.each([
    ['presses "Don’t allow"', undefined],
    ['allows nothing of the API', ['offline_access']],
  ])('whoever %s is not signed in, and reads so', async (_what, scopes) => {
    const { person, callback } = await reachCallback(edge, { scopes: scopes ?? [] });
    const page = await person.open(callback);
    expect(page.status).toBe(400);
    expect(readText(page.html)).toContain('You did not allow it.');
  });

  test('each sign-in makes a new session, and ends the one before', async () => {
    const { person, atProvider } = await signInAtEdge(edge);
    const before = copyOf(person);
    const { left } = await person.open('/login');
    await person.open(String((await allow(atProvider, await atProvider.open(String(left)))).left));
    expect((await askJson(before, '/resource/tides')).status).toBe(401);
    expect((await askJson(person, '/resource/tides')).status).toBe(200);
  });

  test.each([
    ['/resource/tides', '/resource/tides'],
    ['//evil.example/', '/'],
    ['/.//evil.example/', '/.//evil.example/'],
    ['/\\evil.example', '/'],
    ['https://evil.example/', '/'],
    ['javascript:alert(1)', '/'],
  ])('return_to=%s leads to this origin', async (wanted, path) => {
    const from = `/login?return_to=${encodeURIComponent(wanted)}`;
    const { page } = await signInAtEdge(edge, { from });
    expect(page.url).toBe(new URL(path === '/' ? '/' : path, edge.origin).href);
  });
});

describe('with a session', () => {
  test('what was not allowed is refused with a way to allow it, and the rest is accepted', async () => {
    const { person } = await signInAtEdge(edge, { scopes: [boxes.report, boxes.lasting] });
    const page = await person.open('/resource/tides');
    expect(page.status).toBe(403);
    expect(readText(page.html)).toContain('This needs the scope tides:read.');
    expect(page.html).toContain('href="/login?return_to=%2Fresource%2Ftides"');
    const answer = await askJson(person, '/resource/tides');
    expect(answer.headers.get('www-authenticate')).toContain('error="insufficient_scope"');
    expect((await report(person, edge.origin)).status).toBe(303);
  });

  test.each(['/resource/readings', '/logout'])('a form of another site changes nothing: %s', async (path) => {
    const { person } = await signInAtEdge(edge);
    for (const origin of ['https://evil.example', 'null', undefined]) {
      expect([origin, (await report(person, origin, path)).status]).toEqual([origin, 403]);
    }
    expect((await askJson(person, '/resource/tides')).status).toBe(200);
  });

  test('a cookie that is made up, cut or of another sign-in is nobody', async () => {
    const { person } = await signInAtEdge(edge);
    const key = `${cookieName} /`;
    const value = person.jar.get(key)?.value ?? '';
    for (const wrong of ['x', value.slice(1), `${value}x`, `session:${value}`]) {
      person.jar.set(key, { value: wrong, path: '/' });
      expect((await askJson(person, '/resource/tides')).status).toBe(401);
    }
  });

  test('an access token that is about to end is renewed, once for two requests in turn, and for two at once as well', async () => {
    const { person } = await signInBriefly();
    const both = await Promise.all([askJson(person, '/resource/tides'), askJson(person, '/resource/tides')]);
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    const renewed = await person.open('/');
    expect(renewed.html).toContain('<dd id="renewals">1</dd>');
    expect((await askJson(person, '/resource/tides')).status).toBe(200);
    expect((await person.open('/')).html).toContain('<dd id="renewals">1</dd>');
  });

  test('when the provider says that it is over, the session is, and the page offers to sign in', async () => {
    const { person, account } = await signInBriefly();
    await endSessionsOf(edge.app.database.db, account.sub);
    const page = await person.open('/resource/tides');
    expect(page.status).toBe(401);
    expect(readText(page.html)).toContain('Your sign-in has ended.');
    expect(page.html).toContain('Sign in with Latchkey');
    expect(person.jar.has(`${cookieName} /`)).toBe(false);
  });

  test('without lasting access the session ends with its access token', async () => {
    edge.relay.change.expiresIn = 0;
    const { person } = await signInAtEdge(edge, { scopes: [boxes.read] });
    edge.relay.change.expiresIn = undefined;
    expect((await askJson(person, '/resource/tides')).status).toBe(401);
  });

  test('signing out gives the refresh token back, and a copy of the cookie is worth nothing', async () => {
    const { person } = await signInAtEdge(edge);
    const copy = copyOf(person);
    const revocations = edge.relay.count('/oidc/revocation');
    const { left } = await person.open('/logout', { method: 'POST', headers: { origin: edge.origin } });
    expect(left?.pathname).toBe('/oidc/session/end');
    expect([...(left?.searchParams.keys() ?? [])]).toEqual(['client_id', 'post_logout_redirect_uri']);
    expect(edge.relay.count('/oidc/revocation')).toBe(revocations + 1);
    expect((await askJson(copy, '/resource/tides')).status).toBe(401);
  });
});

describe('while the provider is stopped', () => {
  test('who is signed in goes on with a token that is good; one that ended waits for it, and is renewed afterwards', async () => {
    const { person } = await signInAtEdge(edge);
    edge.relay.change.expiresIn = 0;
    const { person: late } = await signInAtEdge(edge);
    edge.relay.change.expiresIn = undefined;
    expect((await askJson(person, '/resource/tides')).status).toBe(200);
    await edge.relay.whileStopped(async () => {
      expect((await person.open('/resource/tides')).status).toBe(200);
      const page = await late.open('/resource/tides');
      expect([page.status, page.headers.get('retry-after')]).toEqual([503, '5']);
      expect(readText(page.html)).toContain('Signing in is away for a moment');
      const answer = await askJson(late, '/resource/tides');
      expect([answer.status, await answer.json()]).toMatchObject([503, { error: 'temporarily_unavailable' }]);
    });
    expect((await late.open('/resource/tides')).status).toBe(200);
  });

  test('signing in says so with a way on, and a callback can be sent again afterwards', async () => {
    const { person, callback } = await reachCallback(edge);
    await edge.relay.whileStopped(async () => {
      const page = await createPerson(edge.origin).open('/login?return_to=/resource/tides');
      expect([page.status, page.headers.get('retry-after')]).toEqual([503, '5']);
      expect(page.html).toContain('href="/login?return_to=/resource/tides">Try again');
      expect((await person.open(callback)).status).toBe(503);
    });
    expect((await person.open(callback)).url).toBe(`${edge.origin}/`);
  });

  test('a person is signed out here all the same', async () => {
    const { person } = await signInAtEdge(edge);
    const copy = copyOf(person);
    await edge.relay.whileStopped(async () => {
      const page = await person.open('/logout', { method: 'POST', headers: { origin: edge.origin } });
      expect(page.status).toBe(503);
      expect(readText(page.html)).toContain('You are signed out here');
    });
    expect((await askJson(copy, '/resource/tides')).status).toBe(401);
  });
});

/** A session whose access token lives for a minute: so short that it is renewed at once. */
async function signInBriefly() {
  await updateApi(edge.app.database.db, tidesApi, { tokenLifetimeSeconds: 60 });
  const signedIn = await signInAtEdge(edge);
  await updateApi(edge.app.database.db, tidesApi, { tokenLifetimeSeconds: 600 });
  return signedIn;
}

function report(person: Person, origin: string | undefined, path = '/resource/readings'): Promise<Response> {
  const body = new URLSearchParams({ metres: '2' });
  return person.request(path, { method: 'POST', body, ...(origin && { headers: { origin } }) });
}

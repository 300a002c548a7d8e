/** Another site's page cannot make a browser change anything here, whichever address it posts to (SECURITY 28, 30). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createPerson, type Person } from '../support/person.ts';
import { discover, password, registerAccount, registerClient, signIn } from '../support/relying-party.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp({ env: { PLAYGROUND: 'on' } });
});
afterAll(() => app.close());

/** Authenticated by a bearer token or by nothing, never by a cookie: there is nothing that another site could use. */
const withoutCookies = ['/clients', '/oidc/reg'].flatMap((door) => [
  `POST ${door}`,
  `PUT ${door}/:client_id`,
  `DELETE ${door}/:client_id`,
  `POST ${door}/:client_id/secret`,
]);

/** The library's, and a client authenticates itself; the route before it only counts. */
const counted = ['POST /oidc/device/auth'];

/** These refuse every method but POST, which the library answers. */
const refusingMethods = ['token', 'request', 'introspection', 'revocation', 'device/auth'].map(
  (path) => `* /oidc/${path}`,
);

/** Where clients may post what they may as well link to: the answer is that link, and nothing else has happened. */
const askedByGet = ['POST /oidc/auth', 'POST /oidc/session/end'];

/** The library's endpoints are behind this one; they are looked at one by one below. */
const library = 'POST /oidc/{*path}';

type Listing = { listRoutes(): { path: string; methods?: string[]; router?: Listing }[] };

function changingRoutes(router: Listing, prefix = ''): string[] {
  return router.listRoutes().flatMap(({ path, methods = [], router: inner }) => {
    const whole = `${prefix}${path === '/' ? '' : path}`;
    if (inner) return changingRoutes(inner, whole);
    return methods
      .filter((method) => !['GET', 'HEAD', 'OPTIONS'].includes(method))
      .map((method) => `${method} ${whole}`);
  });
}

const crossSite: Record<string, string>[] = [
  { 'sec-fetch-site': 'cross-site' },
  { 'sec-fetch-site': 'same-site' },
  { 'sec-fetch-site': 'cross-site', origin: 'http://127.0.0.1' },
  { origin: 'https://evil.example' },
  { origin: 'null' },
];

async function send(
  route: string,
  headers: Record<string, string>,
  body: string | URLSearchParams = new URLSearchParams(),
) {
  const [method = '', path = ''] = route.split(' ');
  const response = await fetch(app.origin + path.replace(/:\w+/g, 'something'), {
    method,
    body,
    redirect: 'manual',
    headers: { accept: 'text/html', ...headers },
  });
  return { status: response.status, html: await response.text() };
}

test('every route of ours that changes something refuses requests from other sites', async () => {
  const routes = changingRoutes(app.app.router as unknown as Listing);
  const open = [...withoutCookies, ...askedByGet, ...counted, ...refusingMethods, library];
  for (const listed of open) expect(routes).toContain(listed);
  const guarded = routes.filter((route) => !open.includes(route));
  expect(guarded).toEqual(
    expect.arrayContaining([
      'POST /auth/login',
      'POST /auth/logout',
      'POST /auth/register',
      'POST /account/profile',
      'POST /account/sessions/:handle/end',
      'POST /account/sessions/end-others',
      'POST /account/deletion',
      'POST /auth/confirm',
      'POST /auth/interaction/:uid/consent',
      'POST /playground/runs',
      'POST /oidc/session/end/confirm',
      'POST /oidc/device',
    ]),
  );
  for (const route of guarded) {
    for (const headers of crossSite) {
      const { status, html } = await send(route, headers);
      expect([route, headers, status]).toEqual([route, headers, 403]);
      expect(html).toContain('sent from another site');
    }
    const own = await send(route, { 'sec-fetch-site': 'same-origin', origin: app.origin });
    expect([route, own.status]).not.toEqual([route, 403]);
  }
});

describe('the library’s endpoints', () => {
  /** Called by programs, which authenticate themselves. */
  const open = ['/token', '/userinfo', '/introspection', '/revocation', '/request', '/device/auth'];
  /** By POST these would be called from pages; by default they take GET alone. */
  const pages = ['/device', '/interaction/x'];
  const off = ['/backchannel', '/challenge', '/credential'];

  test.each(open)('%s takes nothing on the strength of a cookie', async (path) => {
    const { status } = await send(`POST /oidc${path}`, { 'sec-fetch-site': 'cross-site' });
    expect([400, 401]).toContain(status);
  });

  test.each(askedByGet)('%s is answered with the same request as a link', async (route) => {
    const [, path = ''] = route.split(' ');
    const response = await fetch(app.origin + path, {
      method: 'POST',
      redirect: 'manual',
      body: new URLSearchParams({ client_id: 'x', state: 'a b&c' }),
      headers: { 'sec-fetch-site': 'cross-site' },
    });
    expect(response.status).toBe(303);
    expect(response.headers.get('location')).toBe(`${path}?client_id=x&state=a+b%26c`);
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test.each([...pages, ...off])('%s is not there, or guarded', async (path) => {
    const { status } = await send(`POST /oidc${path}`, { 'sec-fetch-site': 'cross-site' });
    expect([403, 404]).toContain(status);
  });
});

describe('a signed-in person', () => {
  let person: Person;
  let ada: Awaited<ReturnType<typeof registerAccount>>;

  beforeAll(async () => {
    ada = await registerAccount(app);
    person = createPerson(app.origin);
    await signIn(person, await person.open('/auth/login'), ada);
  });

  const isSignedIn = async () => (await person.request('/account')).status === 200;

  test('is not signed out by another site (SECURITY 36)', async () => {
    const evil = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
    const post = (path: string, body: Record<string, string>) =>
      person.request(path, { method: 'POST', body: new URLSearchParams(body), headers: evil });
    expect((await post('/auth/logout', {})).status).toBe(403);
    expect((await post('/oidc/session/end/confirm', { logout: 'yes' })).status).toBe(403);
    // RP-initiated logout may come from anywhere and asks; the answer needs the secret of that page.
    const asked = await person.request('/oidc/session/end', { headers: { 'sec-fetch-site': 'cross-site' } });
    expect(await asked.text()).toContain('id="logout"');
    const guessed = await person.request('/oidc/session/end/confirm', {
      method: 'POST',
      body: new URLSearchParams({ xsrf: 'x'.repeat(43), logout: 'yes' }),
    });
    expect(guessed.status).toBe(400);
    expect(await isSignedIn()).toBe(true);
  });

  test('is not signed in as somebody else by another site (SECURITY 30)', async () => {
    const mallory = await registerAccount(app);
    const victim = createPerson(app.origin);
    const rp = await discover(app, await registerClient(app));
    const own = await victim.open((await rp.start()).url);
    for (const path of ['/auth/login', `${own.url}/login`]) {
      for (const headers of crossSite) {
        const body = new URLSearchParams({ email: mallory.email, password });
        const response = await victim.request(path, { method: 'POST', body, headers });
        expect(response.status).toBe(403);
        expect(response.headers.getSetCookie().filter((cookie) => cookie.includes('session'))).toEqual([]);
      }
    }
    expect((await victim.request('/account')).status).toBe(303);
  });

  test('is not signed in as the attacker by a link to the attacker’s own sign-in (SECURITY 29, 30)', async () => {
    const mallory = await registerAccount(app);
    const attacker = createPerson(app.origin);
    const rp = await discover(app, await registerClient(app));
    const page = await attacker.open((await rp.start()).url);
    const answer = await attacker.request(`${page.url}/login`, {
      method: 'POST',
      body: new URLSearchParams({ email: mallory.email, password }),
    });
    const victim = createPerson(app.origin);
    for (const link of [page.url, answer.headers.get('location') as string]) {
      const lost = await victim.open(link);
      expect(lost.status).toBe(400);
      expect(lost.html).toContain('This sign-in got interrupted');
    }
    expect((await victim.request('/account')).status).toBe(303);
    // The same for somebody who is signed in already.
    await person.open(answer.headers.get('location') as string);
    expect(await (await person.request('/account')).text()).toContain(ada.email);
  });

  test('JSON in disguise is refused by its content type (SECURITY 28)', async () => {
    const body = JSON.stringify({ email: ada.email, password });
    for (const type of ['text/plain', 'multipart/form-data; boundary=x']) {
      const { status } = await send('POST /auth/login', { 'content-type': type }, body);
      expect(status).toBe(415);
    }
  });
});

/** Cookies: as closed as the origin allows, and worth nothing once touched (SECURITY 32). */
import { createServer, type Server } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startApp, startAppForTest, type TestApp, testSecrets } from '../support/app.ts';
import { listen } from '../support/listen.ts';
import { createPerson, type Person } from '../support/person.ts';
import { allow, discover, registerAccount, registerClient, signIn } from '../support/relying-party.ts';

type Cookie = { name: string; value: string; attributes: Record<string, string> };

function readCookies(response: Response): Cookie[] {
  return response.headers.getSetCookie().map((line) => {
    const [pair = '', ...rest] = line.split('; ');
    const [name = '', value = ''] = pair.split('=', 2);
    const attributes = rest.map((text) => text.split('=', 2)).map(([key = '', of = '']) => [key.toLowerCase(), of]);
    return { name, value, attributes: Object.fromEntries(attributes) };
  });
}

/** Signs a new person in through a client, allows everything, and signs out: every cookie that was set on the way. */
async function cookiesOfAFlow(app: TestApp): Promise<{ cookies: Cookie[]; addresses: string[] }> {
  const answers = vi.spyOn(globalThis, 'fetch');
  const rp = await discover(app, await registerClient(app));
  const ada = await registerAccount(app);
  const person = createPerson(app.origin);
  const request = await rp.start();
  const consent = await signIn(person, await person.open(request.url), ada);
  await request.finish((await allow(person, consent)).left as URL);
  await person.open('/auth/logout', { method: 'POST', body: new URLSearchParams() });
  const responses = await Promise.all(answers.mock.results.map(({ value }) => value as Promise<Response>));
  const addresses = responses.flatMap(({ headers }) => headers.get('location') ?? []);
  return { cookies: responses.flatMap(readCookies), addresses };
}

describe('on plain http', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await startApp();
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  afterAll(() => app.close());

  test('carry neither Secure nor a prefix, which would keep browsers from sending them', async () => {
    const { cookies } = await cookiesOfAFlow(app);
    expect(new Set(cookies.map(({ name }) => name))).toEqual(
      new Set([
        'latchkey-device',
        ...['session', 'interaction', 'resume'].flatMap((name) => [`latchkey_${name}`, `latchkey_${name}.sig`]),
      ]),
    );
    for (const { name, attributes } of cookies) {
      expect([name, Object.keys(attributes)]).toEqual([name, expect.arrayContaining(['httponly', 'samesite'])]);
      expect(attributes.samesite?.toLowerCase()).toBe('lax');
      expect(attributes).not.toHaveProperty('secure');
      expect(attributes).not.toHaveProperty('domain');
    }
  });

  test('no session id is ever in an address', async () => {
    const { cookies, addresses } = await cookiesOfAFlow(app);
    const ids = cookies.filter(({ name, value }) => name.includes('session') && value !== '').map(({ value }) => value);
    expect(ids.length).toBeGreaterThan(1);
    for (const address of addresses) for (const id of ids) expect(address).not.toContain(id);
  });

  test('of interactions go to their own interaction and nowhere else', async () => {
    const { cookies } = await cookiesOfAFlow(app);
    for (const { name, value, attributes } of cookies) {
      if (name === 'latchkey_interaction') expect(attributes.path).toBe(`/auth/interaction/${value}`);
      if (name === 'latchkey_resume' && value !== '') expect(attributes.path).toBe(`/oidc/auth/${value}`);
    }
  });

  describe('a session cookie', () => {
    let person: Person;

    beforeAll(async () => {
      person = createPerson(app.origin);
      await signIn(person, await person.open('/auth/login'), await registerAccount(app));
    });

    const statusWith = async (cookies: Record<string, string>, { origin } = app) => {
      const cookie = Object.entries(cookies)
        .map(([name, value]) => `${name}=${value}`)
        .join('; ');
      return (await fetch(`${origin}/account`, { headers: { cookie }, redirect: 'manual' })).status;
    };
    const held = (name: string) => person.jar.get(`${name} /`)?.value ?? '';
    /** Another one of its characters, so that it decodes to other bytes. */
    const changed = (text: string) => (text.startsWith('A') ? 'B' : 'A') + text.slice(1);

    test('counts with its own signature alone', async () => {
      const [session, signature] = [held('latchkey_session'), held('latchkey_session.sig')];
      expect(await statusWith({ latchkey_session: session, 'latchkey_session.sig': signature })).toBe(200);
      expect(await statusWith({ latchkey_session: session })).toBe(303);
      expect(await statusWith({ latchkey_session: session, 'latchkey_session.sig': '' })).toBe(303);
      expect(await statusWith({ latchkey_session: session, 'latchkey_session.sig': changed(signature) })).toBe(303);
      expect(await statusWith({ latchkey_session: changed(session), 'latchkey_session.sig': signature })).toBe(303);
      expect(await statusWith({ latchkey_session: session, 'latchkey_session.sig': 'x'.repeat(5000) })).toBe(303);
    });

    test('outlives a rotation of OIDC_COOKIE_SECRET as long as the old one stays in the list, where the first signs', async () => {
      const [before, after] = [testSecrets.OIDC_COOKIE_SECRET, 'another secret of more than 32 characters'];
      const served = (OIDC_COOKIE_SECRET: string) =>
        startAppForTest({ env: { OIDC_COOKIE_SECRET }, database: { url: app.databaseUrl } });
      const cookiesOf = ({ jar }: Person) =>
        Object.fromEntries(
          ['latchkey_session', 'latchkey_session.sig'].map((name) => [name, jar.get(`${name} /`)?.value ?? '']),
        );
      const both = await served(`${after},${before}`);
      const rotated = await served(after);
      expect(await statusWith(cookiesOf(person), both)).toBe(200);
      expect(await statusWith(cookiesOf(person), rotated)).toBe(303);
      const newcomer = createPerson(both.origin);
      await signIn(newcomer, await newcomer.open('/auth/login'), await registerAccount(both));
      expect(await statusWith(cookiesOf(newcomer), rotated)).toBe(200);
      expect(await statusWith(cookiesOf(newcomer))).toBe(303);
    });
  });
});

describe('behind https', () => {
  let app: TestApp;
  let listener: Server;

  beforeAll(async () => {
    app = await startApp({ env: { OIDC_ISSUER: 'https://id.example.test' } });
    listener = createServer(app.app.handler);
    const address = `http://127.0.0.1:${await listen(listener)}`;
    const { fetch } = globalThis;
    // What a proxy that ends TLS does: the public origin leads to the plain listener.
    vi.stubGlobal('fetch', (input: string | URL, init: RequestInit = {}) => {
      const headers = new Headers(init.headers);
      headers.set('host', 'id.example.test');
      return fetch(String(input).replace(app.origin, address), { ...init, headers });
    });
  });
  afterAll(async () => {
    vi.unstubAllGlobals();
    listener.close();
    await app.close();
  });

  test('all are Secure and prefixed, those of the whole origin with __Host-', async () => {
    const { cookies } = await cookiesOfAFlow(app);
    expect(cookies.length).toBeGreaterThan(6);
    for (const { name, attributes } of cookies) {
      expect([name, Object.keys(attributes)]).toEqual([
        name,
        expect.arrayContaining(['httponly', 'samesite', 'secure']),
      ]);
      expect(attributes.samesite?.toLowerCase()).toBe('lax');
      expect(attributes).not.toHaveProperty('domain');
      expect(name).toMatch(attributes.path === '/' ? /^__Host-latchkey/ : /^__Secure-latchkey/);
    }
  });

  test('browsers are told to stay on https, and no redirect leaves it', async () => {
    const { addresses } = await cookiesOfAFlow(app);
    for (const address of addresses) expect(new URL(address, app.origin).protocol).toBe('https:');
    const response = await fetch(`${app.origin}/auth/login`);
    expect(response.headers.get('strict-transport-security')).toMatch(/^max-age=\d{8,}/);
    const discovery = (await (await fetch(`${app.issuer}/.well-known/openid-configuration`)).json()) as object;
    expect(JSON.stringify(discovery)).not.toContain('http://');
  });
});

/** examples/web-app while Latchkey is away, before it is there, and when it has forgotten the app; and what it is told of logouts. */
import { randomUUID } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { launchExample, startExample } from '../support/example.ts';
import { endServer, freePort, listen } from '../support/listen.ts';
import { type Page, readText } from '../support/person.ts';
import { registerAccount } from '../support/relying-party.ts';
import {
  answer,
  createReader,
  isKnown,
  type Library,
  leave,
  type Reader,
  signAsLatchkey,
  startLibrary,
  visitLibrary,
} from './library.ts';

let library: Library;
let ada: Awaited<ReturnType<typeof registerAccount>>;
let reader: Reader;

beforeAll(async () => {
  library = await startLibrary();
  ada = await registerAccount(library.app);
});
beforeEach(() => {
  reader = createReader(library);
});
afterAll(() => library.close());

const heading = ({ html }: Page) => /<h1>([^<]*)/.exec(html)?.[1];
const isAway = (page: Page) =>
  expect([page.status, heading(page)], readText(page.html)).toEqual([503, 'Latchkey is away']);

describe('while Latchkey is away', () => {
  test('signing in says so and starts by the same link afterwards', async () => {
    await library.line.down(async () => {
      const page = await reader.library.open('/sign-in?return_to=/history');
      isAway(page);
      expect(page.html).toContain('href="/sign-in?return_to=/history"');
      isAway(await reader.library.open('/card'));
      expect(heading(await reader.library.open('/'))).toBe('Books from the edge of the wood');
    });
    expect(heading(await visitLibrary(reader, ada, { path: '/history' }))).toBe('Borrowing history');
  });

  test('coming back says so, and the way on leads to where the person wanted to be', async () => {
    const callback = await answer(reader, await leave(reader, '/history'), ada);
    await library.line.down(async () => {
      const page = await reader.library.open(callback);
      isAway(page);
      expect(page.html).toContain(`href="${library.origin}/history"`);
      expect(page.headers.get('retry-after')).toBe('10');
    });
    expect(heading(await visitLibrary(reader, ada, { path: '/history' }))).toBe('Borrowing history');
  });

  test('who is signed in stays so: the profile waits, and what needs nobody is shown', async () => {
    await visitLibrary(reader, ada);
    await library.line.down(async () => {
      isAway(await reader.library.open('/profile'));
      expect(heading(await reader.library.open('/history'))).toBe('Borrowing history');
    });
    expect(heading(await reader.library.open('/profile'))).toBe('Your profile');
  });

  test('signing out works here, and says that it could not be told there', async () => {
    await visitLibrary(reader, ada);
    await library.line.down(async () => {
      const page = await reader.library.open('/sign-out', { method: 'POST', headers: { origin: library.origin } });
      expect([page.status, heading(page)]).toEqual([503, 'You’re signed out of the library']);
    });
    expect(await isKnown(reader)).toBe(false);
  });
});

describe('at its start', () => {
  test('it ends with one line that says where nobody answers and what to do', async () => {
    const issuer = `http://localhost:${await freePort()}/oidc`;
    const running = launchExample('web-app', { ISSUER: issuer, PORT: String(await freePort()) });
    expect((await running.ended).code).toBe(1);
    expect(running.stderr().trim()).toMatch(new RegExp(`^Latchkey does not answer at ${issuer}\\. .*npm start.*$`));
  });

  test('it tells nothing about itself to an issuer of another name', async () => {
    const ISSUER = `${library.app.origin}/elsewhere`;
    const REGISTRATION_FILE = join(tmpdir(), `latchkey-${randomUUID()}.json`);
    const running = launchExample('web-app', { ISSUER, REGISTRATION_FILE, PORT: String(await freePort()) });
    expect((await running.ended).code).toBe(1);
    expect(running.stderr()).toBe(`${ISSUER} answers, but is not that issuer. Is ISSUER right?\n`);
    await expect(stat(REGISTRATION_FILE)).rejects.toThrow('ENOENT');
  });

  test.each([
    ['ISSUER', 'http://id.example/oidc'],
    ['BASE_URL', 'https://library.example/books'],
    ['PORT', '80800'],
    ['RENEW_BEFORE', 'soon'],
    ['CLIENT_ID', 'c_alone'],
  ])('it ends with one line about %s=%s', async (name, value) => {
    const running = launchExample('web-app', { ISSUER: library.app.issuer, [name]: value });
    expect((await running.ended).code).toBe(1);
    expect(running.stderr().trim()).toMatch(new RegExp(`^${name}.*$`));
  });

  test('behind https its cookies are for that host alone', async () => {
    const PORT = String(await freePort());
    const env = { ISSUER: library.app.issuer, PORT, BASE_URL: 'https://library.example' };
    const running = await startExample('web-app', env);
    const away = await fetch(`http://localhost:${PORT}/sign-in`, { redirect: 'manual' });
    expect(away.headers.get('set-cookie')).toMatch(
      /^__Host-fernwood_browser=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
    expect(away.headers.get('strict-transport-security')).toBeTruthy();
    await running.stop();
  });

  test('where apps may not register themselves it prints the operator’s command', async () => {
    const closed = createServer((req, res) => {
      if (req.url === '/oidc/.well-known/openid-configuration') res.end(JSON.stringify({ issuer }));
      else res.writeHead(403).end('{"error":"registration_closed"}');
    });
    const issuer = `http://localhost:${await listen(closed)}/oidc`;
    onTestFinished(() => endServer(closed));
    const running = launchExample('web-app', { ISSUER: issuer, PORT: String(await freePort()) });
    expect((await running.ended).code).toBe(1);
    expect(running.stderr()).toContain(
      `npm run latchkey -- clients create --metadata '{"client_name":"Fernwood Library"`,
    );
  });

  test('it is the client that it was, moved to another port, and a new one when Latchkey has forgotten it', async () => {
    const REGISTRATION_FILE = join(tmpdir(), `${randomUUID()}.json`);
    const kept = async () => JSON.parse(await readFile(REGISTRATION_FILE, 'utf8'));
    const [one, two] = [String(await freePort()), String(await freePort())];
    const start = async (PORT: string) => {
      const running = await startExample('web-app', { ISSUER: library.app.issuer, PORT, REGISTRATION_FILE });
      expect(await running.stop()).toEqual({ code: 0, signal: null });
      return kept();
    };
    const first = await start(one);
    expect((await stat(REGISTRATION_FILE)).mode & 0o777).toBe(0o600);
    expect(await start(two)).toEqual(first);
    const headers = { authorization: `Bearer ${first.registration_access_token}` };
    const registered = await (await fetch(first.registration_client_uri, { headers })).json();
    expect(registered).toMatchObject({ redirect_uris: [`http://localhost:${two}/callback`] });
    await fetch(first.registration_client_uri, { method: 'DELETE', headers });
    expect((await start(two)).client_id).not.toBe(first.client_id);
  });
});

describe('a logout token', () => {
  const event = 'http://schemas.openid.net/event/backchannel-logout';
  /** Ada, in a browser in which she stays. */
  let resident: Reader;
  beforeAll(async () => {
    resident = createReader(library);
    await visitLibrary(resident, ada);
  });
  const now = Math.floor(Date.now() / 1000);
  /** What Latchkey would say of somebody signed out of all their sessions. */
  const said = (changes: JWTPayload = {}): JWTPayload => ({
    ...{ iss: library.app.issuer, aud: library.clientId, iat: now, exp: now + 120, jti: randomUUID(), sub: ada.sub },
    events: { [event]: {} },
    ...changes,
  });
  /** 200, or why not. */
  async function tell(logout_token: string): Promise<200 | string> {
    const body = new URLSearchParams({ logout_token });
    const response = await fetch(`${library.origin}/backchannel-logout`, { method: 'POST', body });
    expect(response.headers.get('cache-control')).toBe('no-store');
    if (response.status === 200) return response.text().then(() => 200);
    const { error, error_description } = (await response.json()) as Record<string, string>;
    expect([response.status, error]).toEqual([400, 'invalid_request']);
    return error_description ?? '';
  }

  test('ends the sessions of its person, once: a copy does not end what came after', async () => {
    const bob = await registerAccount(library.app);
    await visitLibrary(reader, bob);
    const token = await signAsLatchkey(library.app, said({ sub: bob.sub }));
    expect([await tell(token), await isKnown(reader), await isKnown(resident)]).toEqual([200, false, true]);
    await visitLibrary(reader, bob);
    expect([await tell(token), await isKnown(reader)]).toEqual(['seen before', true]);
  });

  test('that names a session ends that one alone', async () => {
    expect(await tell(await signAsLatchkey(library.app, said({ sid: 'another' })))).toBe(200);
    expect(await isKnown(resident)).toBe(true);
  });

  const without = (name: string) => ({ [name]: undefined }) as unknown as JWTPayload;
  test.each<[string, string, JWTPayload, object?]>([
    ['of another issuer', '"iss"', { iss: 'https://evil.example' }],
    ['for another client', '"aud"', { aud: 'c_other' }],
    ['that has expired', '"exp"', { exp: now - 60 }],
    ['made in the future', '"iat"', { iat: now + 3600, exp: now + 7200 }],
    ['of long ago', '"iat"', { iat: now - 3600 }],
    ['without iat', '"iat"', without('iat')],
    ['without exp', '"exp"', without('exp')],
    ['without jti', '"jti"', without('jti')],
    ['without the event', 'not a logout event', { events: {} }],
    ['without events', 'not a logout event', without('events')],
    ['with a nonce, as an ID token has', 'no nonce', { nonce: 'n' }],
    ['about nobody', 'nobody is named', without('sub')],
    ['of another type', '"typ"', {}, { typ: 'JWT' }],
    ['of no type', '"typ"', {}, { typ: undefined }],
  ])('%s is refused, though Latchkey signed it', async (_what, why, changes, header) => {
    expect(await tell(await signAsLatchkey(library.app, said(changes), header))).toContain(why);
    expect(await isKnown(resident)).toBe(true);
  });

  test('that Latchkey did not sign is refused, and so is what is no token', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const header = { typ: 'logout+jwt' };
    const forged = [
      await new SignJWT(said()).setProtectedHeader({ ...header, alg: 'RS256' }).sign(privateKey),
      await new SignJWT(said()).setProtectedHeader({ ...header, alg: 'HS256' }).sign(new Uint8Array(32)),
      new UnsecuredJWT(said()).encode(),
      ...['not a token', ''],
    ];
    for (const token of forged) expect(await tell(token)).toMatch(/signature|Algorithm|Compact JWS/);
    expect(await isKnown(resident)).toBe(true);
  });
});

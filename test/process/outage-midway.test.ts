/**
 * The connection to the database breaks at the first statement of a request, at the second, and so on to the last, for
 * that statement or for all that follow: whichever it is the answer says "not now", and afterwards the same request is
 * served.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { type Device, deviceGrantType } from '../support/device.ts';
import { createPerson, type Page, type Person, readCheckboxes, readForm } from '../support/person.ts';
import {
  discover,
  password,
  type Registration,
  type RelyingParty,
  registerAccount,
  registerClient,
  signInThrough,
} from '../support/relying-party.ts';

let app: TestApp;
let rp: RelyingParty;
let registration: Registration;
let account: Awaited<ReturnType<typeof registerAccount>>;
let person: Person;
let tokens: Awaited<ReturnType<typeof signInThrough>>['tokens'];

/** Statements until the connection breaks, and whether it stays so. */
let fuse = 0;
let lasting = false;

beforeAll(async () => {
  app = await startApp({ expectErrors: true, idle: true });
  const grant_types = ['authorization_code', 'refresh_token', deviceGrantType];
  registration = await registerClient(app, { grant_types });
  account = await registerAccount(app);
  rp = await discover(app, registration);
  const parameters = { scope: 'openid email offline_access', prompt: 'consent' };
  ({ person, tokens } = await signInThrough(app, rp, account, { parameters }));
  const { query } = pg.Client.prototype;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: Breakable, ...args: unknown[]) {
    const counts = isOfThisApp(this) && !isBackgroundWork(args[0]);
    if (counts) fuse -= 1;
    if (counts && (fuse === 0 || (lasting && fuse < 0))) this.connection.stream.destroy();
    return Reflect.apply(query, this, args);
  } as never);
});
afterAll(async () => {
  vi.restoreAllMocks();
  await app.close();
});

/** Of two statements sent at once one may still wait for its connection when the other one's failure was answered. */
async function statementsDone(): Promise<void> {
  const { pool } = app.database;
  const isQuiet = () => pool.waitingCount === 0 && pool.idleCount === pool.totalCount;
  await vi.waitUntil(isQuiet, { timeout: 10_000, interval: 5 });
}

/** Whatever else goes on in this process has a database of its own. */
function isOfThisApp({ database }: pg.Client): boolean {
  return database === new URL(app.databaseUrl).pathname.slice(1);
}

/** What the server looks after by itself, now and then, is no statement of a request. */
function isBackgroundWork(query: unknown): boolean {
  const text = typeof query === 'string' ? query : ((query as { text?: string } | undefined)?.text ?? '');
  return /"(backchannel_logouts" logout|signing_keys")/.test(text);
}

type Breakable = pg.Client & { connection: { stream: { destroy(): void } } };

/** Each prepares a request that may be sent again and again. */
const requests: Record<string, () => Promise<() => Promise<Response>>> = {
  'GET /': async () => () => person.request('/'),
  'GET /account': async () => () => person.request('/account'),
  'POST /auth/login': async () => () => postJson('/auth/login', { email: account.email, password }),
  'POST /clients': async () => () => postJson('/clients', { redirect_uris: ['https://fernwood.example/cb'] }),
  'GET /oidc/auth': async () => {
    const request = await rp.start({ scope: 'openid email' });
    return () => person.request(request.url);
  },
  'GET /auth/interaction/:uid': async () => {
    const { visitor, page } = await visit();
    return () => visitor.request(page.url);
  },
  'POST /auth/interaction/:uid/login': async () => {
    const { visitor, page } = await visit();
    return () => postForm(visitor, page, 'login', { email: account.email, password });
  },
  'POST /auth/interaction/:uid/consent': async () => {
    const page = await person.open((await rp.start({ prompt: 'consent' })).url);
    const scope = Object.keys(readCheckboxes(page.html, 'scope'));
    return () => postForm(person, page, 'consent', { scope, decision: 'allow' });
  },
  'POST /oidc/token': async () => () => {
    return postAsClient('/token', { grant_type: 'refresh_token', refresh_token: tokens.refresh_token ?? '' });
  },
  'GET /oidc/userinfo': async () => () =>
    fetch(`${app.issuer}/userinfo`, { headers: { authorization: `Bearer ${tokens.access_token}` } }),
  'POST /oidc/introspection': async () => () => postAsClient('/introspection', { token: tokens.access_token }),
  'POST /oidc/device/auth': async () => () => postAsClient('/device/auth', { scope: 'openid' }),
  'POST /oidc/token for a device that waits': async () => {
    const { device_code } = (await (await postAsClient('/device/auth', { scope: 'openid' })).json()) as Device;
    // Pending is a 400 to the device, and here as good as an answer.
    return async () => {
      const response = await postAsClient('/token', { grant_type: deviceGrantType, device_code });
      return response.status === 400 ? new Response(await response.text()) : response;
    };
  },
  'GET /oidc/device': async () => {
    const { verification_uri_complete } = (await (await postAsClient('/device/auth', {})).json()) as Device;
    return () => person.request(verification_uri_complete);
  },
  'POST /oidc/device': async () => {
    const { user_code } = (await (await postAsClient('/device/auth', {})).json()) as Device;
    const page = await person.open('/oidc/device');
    return () => postForm(person, page, 'device', { user_code });
  },
  'GET /oidc/session/end': async () => () => person.request('/oidc/session/end'),
};

const outages = Object.entries(requests).flatMap(([name, prepare]) => [
  { name, prepare, lasts: false, how: 'for a moment' },
  { name, prepare, lasts: true, how: 'for long' },
]);

test.for(outages)('$name, $how', async ({ prepare, lasts }) => {
  // So many requests from one address would meet a limit.
  await app.database.pool.query('delete from throttles');
  const send = await prepare();
  let broken = 0;
  for (;;) {
    [fuse, lasting] = [broken + 1, lasts];
    const response = await send();
    const body = await response.text();
    await statementsDone();
    lasting = false;
    if (fuse > 0) {
      fuse = 0;
      expect(response.status, body).toBeLessThan(400);
      break;
    }
    broken += 1;
    expect(body).not.toMatch(/oops|Something broke/);
    expect([response.status, response.headers.get('retry-after')], `statement ${broken}`).toEqual([503, '5']);
  }
  expect(broken).toBeGreaterThan(0);
});

function postJson(path: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  return fetch(app.origin + path, { method: 'POST', body: JSON.stringify(body), headers });
}

function postAsClient(path: string, parameters: Record<string, string>): Promise<Response> {
  const { client_id, client_secret = '' } = registration;
  const body = new URLSearchParams({ ...parameters, client_id, client_secret });
  return fetch(app.issuer + path, { method: 'POST', body });
}

function postForm(by: Person, page: Page, id: string, fields: Record<string, string | string[]>): Promise<Response> {
  const { action, hidden } = readForm(page.html, id);
  const body = new URLSearchParams(hidden);
  for (const [name, values] of Object.entries(fields)) for (const value of [values].flat()) body.append(name, value);
  const headers = { origin: app.origin, 'sec-fetch-site': 'same-origin' };
  return by.request(new URL(action, page.url).href, { method: 'POST', body, headers });
}

/** Somebody who is asked to sign in. */
async function visit(): Promise<{ visitor: Person; page: Page }> {
  const visitor = createPerson(app.origin);
  return { visitor, page: await visitor.open((await rp.start()).url) };
}

/** docs/recipes/authjs.md: the configuration printed there on the engine of next-auth, in a server that does what Next.js would. */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { advance } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { endServer, listen } from '../support/listen.ts';
import { createPerson, readText } from '../support/person.ts';
import { allow, registerAccount, signIn } from '../support/relying-party.ts';
import { root } from '../support/running.ts';
import { registerAsPrinted } from './pages.ts';
import { openWorkshop, type Workshop } from './printed-code.ts';

type AuthConfig = Record<string, unknown>;
type JWT = Record<string, unknown>;
type GetToken = (from: { req: Request | { headers: Record<string, string> }; secret: string }) => Promise<JWT | null>;
type Engine = { Auth(request: Request, config: AuthConfig): Promise<Response>; skipCSRFCheck: symbol };

// Its own types bring those of a browser along, for every file of this project.
const { Auth, skipCSRFCheck } = (await import('@auth/core' as string)) as Engine;
const { getToken } = (await import('@auth/core/jwt' as string)) as { getToken: GetToken };

const secret = randomBytes(32).toString('base64url');
/** What the engine itself says when something is wrong. */
const errors: string[] = [];
let app: TestApp;
let workshop: Workshop;
let server: Server;
let site: string;
let config: AuthConfig;
let endSessionUrl: (idToken: unknown) => string;

beforeAll(async () => {
  app = await startApp();
  server = createServer(async (req, res) => {
    const response = await answer(await toRequest(req));
    const headers = { ...Object.fromEntries(response.headers), 'set-cookie': response.headers.getSetCookie() };
    res.writeHead(response.status, headers).end(await response.text());
  });
  site = `http://localhost:${await listen(server)}`;
  const client = await registerAsPrinted('authjs.md', app.env, { 'http://localhost:3650': site });
  vi.stubEnv('APP_URL', site);
  vi.stubEnv('AUTH_LATCHKEY_ISSUER', app.issuer);
  vi.stubEnv('AUTH_LATCHKEY_ID', client.client_id);
  vi.stubEnv('AUTH_LATCHKEY_SECRET', client.client_secret);
  workshop = await openWorkshop();
  const printed = await workshop.load<{ authConfig: AuthConfig; endSessionUrl: typeof endSessionUrl }>(
    'authjs.md',
    'auth.config.ts',
  );
  ({ endSessionUrl } = printed);
  const logger = { error: (error: Error) => void errors.push(error.name), warn() {}, debug() {} };
  config = { ...printed.authConfig, secret, logger, basePath: '/api/auth', trustHost: true };
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  errors.length = 0;
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await workshop.close();
  await endServer(server);
  await app.close();
});

async function toRequest(req: IncomingMessage): Promise<Request> {
  const headers = Object.entries(req.headers).map(([name, value]): [string, string] => [name, String(value)]);
  const body = req.method === 'POST' ? { body: await text(req) } : {};
  return new Request(`${site}${req.url}`, { method: req.method ?? 'GET', headers, ...body });
}

/** The route handler, the sign-out action and the home page. */
async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname.startsWith('/api/auth/')) return Auth(request, config);
  if (pathname !== '/sign-out') return new Response('Welcome to Fernwood');
  const token = await getToken({ req: request, secret });
  const { headers } = request;
  const signOut = new Request(`${site}/api/auth/signout`, { method: 'POST', headers, body: '' });
  const out = await Auth(signOut, { ...config, skipCSRFCheck });
  out.headers.set('location', endSessionUrl(token?.id_token));
  return new Response(null, { status: 303, headers: out.headers });
}

/** Somebody at a browser, at the application and at Latchkey. */
async function visit() {
  const [here, there] = [createPerson(site), createPerson(app.origin)];
  const account = await registerAccount(app);
  const cookies = () => [...here.jar].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ');

  async function askToSignIn(): Promise<URL> {
    const { csrfToken } = (await (await here.request('/api/auth/csrf')).json()) as { csrfToken: string };
    const body = new URLSearchParams({ csrfToken, callbackUrl: `${site}/` });
    return (await here.open('/api/auth/signin/latchkey', { method: 'POST', body })).left as URL;
  }

  return {
    ...{ here, there, account, askToSignIn },
    /** As far as the answer of Latchkey. */
    async signInThere(): Promise<{ asked: string; callback: URL }> {
      const page = await signIn(there, await there.open((await askToSignIn()).href), account);
      return { asked: readText(page.html), callback: (await allow(there, page)).left as URL };
    },
    session: async () => (await here.request('/api/auth/session')).json() as Promise<{ user: object } | null>,
    /** What is inside the cookie, which only the application can open. */
    kept: () => getToken({ req: { headers: { cookie: cookies() } }, secret }),
  };
}

async function signedIn() {
  const visitor = await visit();
  const { callback } = await visitor.signInThere();
  expect((await visitor.here.open(callback.href)).html).toBe('Welcome to Fernwood');
  return visitor;
}

test('a person agrees and is signed in, with name and email; scripts see no token', async () => {
  const visitor = await visit();
  const { asked, callback } = await visitor.signInThere();
  expect(asked).toContain('Fernwood Library wants to use your account');
  expect((await visitor.here.open(callback.href)).html).toBe('Welcome to Fernwood');
  const { sub: id, email, name } = visitor.account;
  const session = await visitor.session();
  expect(session).toEqual({ user: { id, email, name }, expires: expect.any(String) });
  expect(await visitor.kept()).toMatchObject({ sub: id, refresh_token: expect.any(String) });
  expect(errors).toEqual([]);
});

test('the request has PKCE, state and nonce', async () => {
  const { searchParams } = await (await visit()).askToSignIn();
  expect(Object.fromEntries(searchParams)).toMatchObject({
    ...{ state: expect.any(String), nonce: expect.any(String), code_challenge_method: 'S256' },
    ...{ scope: 'openid profile email offline_access', prompt: 'consent' },
  });
});

test('an expired access token is renewed, once, and the person is not asked', async () => {
  const visitor = await signedIn();
  const before = await visitor.kept();
  advance(2 * 3600);
  expect(await visitor.session()).toMatchObject({ user: { id: visitor.account.sub } });
  const after = await visitor.kept();
  expect(after?.access_token).not.toBe(before?.access_token);
  expect(after?.refresh_token).not.toBe(before?.refresh_token);
  await visitor.session();
  expect((await visitor.kept())?.access_token).toBe(after?.access_token);
});

test('the session ends when Latchkey says that access was taken back, and stays while Latchkey is away', async () => {
  const visitor = await signedIn();
  advance(2 * 3600);
  const { fetch } = globalThis;
  const away = vi.spyOn(globalThis, 'fetch').mockImplementation((input, init) => {
    return String(input) === `${app.issuer}/token` ? Promise.reject(new TypeError('fetch failed')) : fetch(input, init);
  });
  expect(await visitor.session()).toMatchObject({ user: { id: visitor.account.sub } });
  away.mockRestore();

  const words = ['accounts', 'sign-out', visitor.account.email];
  expect((await runCommandLine({ env: app.env, folder: root }, words)).code).toBe(0);
  expect(await visitor.session()).toBeNull();
  expect(await visitor.kept()).toBeNull();
});

test('signing out ends the session here and at Latchkey, and comes back', async () => {
  const visitor = await signedIn();
  const { left } = await visitor.here.open('/sign-out', { method: 'POST' });
  expect(await visitor.session()).toBeNull();
  const page = await visitor.there.open(left?.href ?? '');
  const back = await visitor.there.submit(page, 'logout', {}, 'logout-confirm');
  expect(back.left?.href).toBe(`${site}/`);
  expect((await visitor.there.open((await visitor.askToSignIn()).href)).html).toContain('id="login"');
});

test.each<[string, (answer: URLSearchParams) => void]>([
  ['with a forged state', (answer) => answer.set('state', 'forged')],
  ['without a state', (answer) => answer.delete('state')],
  ['of another issuer', (answer) => answer.set('iss', 'https://id.evil.example')],
  ['with somebody else’s code', (answer) => answer.set('code', 'forged')],
])('an answer %s signs nobody in', async (_, change) => {
  const visitor = await visit();
  const { callback } = await visitor.signInThere();
  change(callback.searchParams);
  const { url } = await visitor.here.open(callback.href);
  expect(url).toContain('/api/auth/error');
  expect(errors).toHaveLength(1);
  expect(await visitor.session()).toBeNull();
});

test('an answer that comes back a second time signs nobody in', async () => {
  const visitor = await visit();
  const { callback } = await visitor.signInThere();
  await visitor.here.open(callback.href);
  await visitor.here.open('/sign-out', { method: 'POST' });
  await visitor.here.open(callback.href);
  expect(await visitor.session()).toBeNull();
});

/** How many statements a request costs in the steady state, BEGIN and COMMIT among them. Each is a round trip. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  allow,
  askForToken,
  createApiSide,
  createApis,
  createService,
  introspect,
  invoices,
  photos,
} from '../apis/fixture.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  userinfoStatus,
} from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

let app: TestApp;
let client: Registration;
let signedIn: SignedIn;
const seen: string[] = [];

const forAlways = { scope: 'openid email offline_access', prompt: 'consent' };
const forTheSession = { scope: 'openid email' };

beforeAll(async () => {
  const { query } = pg.Client.prototype;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    const [statement] = args as [string | { text: string }];
    const ours = app !== undefined && this.database === new URL(app.databaseUrl).pathname.slice(1);
    if (ours) seen.push(typeof statement === 'string' ? statement : statement.text);
    return Reflect.apply(query, this, args);
  } as never);
  app = await startApp({ idle: true });
  [client, signedIn] = await Promise.all([registerClient(app), signedInPerson(app)]);
  await createApis(app);
  await allow(app, client, { [invoices]: ['read'], [photos]: ['read'] });
});
afterAll(async () => {
  vi.restoreAllMocks();
  await app.close();
});

/**
 * The statements of the cheapest of some runs: the first fill caches, and what goes on beside them (a notice of a change,
 * a sign of life) makes one dearer now and then, and never cheaper.
 */
async function statementsOf<T>(prepare: () => Promise<T>, send: (prepared: T) => Promise<number>): Promise<string[]> {
  const runs: string[][] = [];
  for (let run = 0; run < 4; run += 1) {
    const prepared = await prepare();
    seen.length = 0;
    expect(await send(prepared)).toBeLessThan(400);
    runs.push([...seen]);
  }
  return runs.sort((a, b) => a.length - b.length)[0] as string[];
}

const nothing = async () => undefined;

test('a token in JWT form that a service gets for itself: none', async () => {
  const service = await createService(app, { [invoices]: ['read'] });
  const send = async () => (await askForToken(app, service, { resource: invoices })).status;
  expect(await statementsOf(nothing, send)).toHaveLength(0);
});

test('an opaque token that a service gets for itself: one', async () => {
  const service = await createService(app, { [photos]: ['read'] });
  const send = async () => (await askForToken(app, service, { resource: photos })).status;
  expect(await statementsOf(nothing, send)).toHaveLength(1);
});

test('an authorization request of somebody who is signed in and has allowed it: two', async () => {
  await issueCode(app, client, signedIn, forTheSession);
  const url = authorizationUrl(app, client, forTheSession);
  const send = async () => (await signedIn.person.request(url)).status;
  expect(await statementsOf(nothing, send)).toHaveLength(2);
});

test.each([
  ['and brings a refresh token: four', forAlways, 4],
  ['and brings none: three', forTheSession, 3],
])('a code that is redeemed %s', async (_which, parameters, count) => {
  const send = async (issued: Awaited<ReturnType<typeof issueCode>>) => (await redeem(app, client, issued)).status;
  expect(await statementsOf(() => issueCode(app, client, signedIn, parameters), send)).toHaveLength(count);
});

test('a refresh with rotation: three', async () => {
  const send = async ({ refresh_token }: Tokens) => (await refresh(app, client, refresh_token)).status;
  expect(await statementsOf(issue, send)).toHaveLength(3);
});

test.each([
  ['for always', forAlways],
  ['for the time of a session', forTheSession],
])('userinfo with a token %s: one', async (_which, parameters) => {
  const send = ({ access_token }: Tokens) => userinfoStatus(app, access_token);
  expect(await statementsOf(() => issueTokens(app, client, signedIn, parameters), send)).toHaveLength(1);
});

test.each(['access_token', 'refresh_token'] as const)('introspection of a stored %s: one', async (kind) => {
  const send = async (tokens: Tokens) => {
    const { body, status } = await post(app, 'introspection', { token: tokens[kind] }, client);
    expect(body.active).toBe(true);
    return status;
  };
  expect(await statementsOf(issue, send)).toHaveLength(1);
});

test('introspection of a JWT by the API it is for: one', async () => {
  const side = await createApiSide(app, invoices);
  const prepare = () => issueTokens(app, client, signedIn, { scope: 'read', resource: invoices });
  const send = async ({ access_token }: Tokens) => {
    expect(await introspect(app, side, access_token)).toMatchObject({ active: true });
    return 200;
  };
  expect(await statementsOf(prepare, send)).toHaveLength(1);
});

test.each(['access_token', 'refresh_token'] as const)(
  'revocation of a %s: three, the second end being for what was made of it during the first',
  async (kind) => {
    const send = async (tokens: Tokens) => (await post(app, 'revocation', { token: tokens[kind] }, client)).status;
    expect(await statementsOf(issue, send)).toHaveLength(3);
  },
);

type Tokens = Awaited<ReturnType<typeof issueTokens>>;

const issue = () => issueTokens(app, client, signedIn, forAlways);

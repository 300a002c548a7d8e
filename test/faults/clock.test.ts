/** The clock of a server is set by minutes while it runs, in both directions. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { createEncryption } from '../../src/keys/encryption.ts';
import { keyAlgorithms } from '../../src/keys/key-pairs.ts';
import { ringKeys, tendRing } from '../../src/keys/key-ring.ts';
import { sweep } from '../../src/ops/sweep.ts';
import { createExchangeApis, createExchanger, exchange, issueFor, permit, stock } from '../apis/exchange.ts';
import { allow, createApiSide, introspect, invoices, photos } from '../apis/fixture.ts';
import {
  ageUses,
  issueCode,
  issueTokens,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from '../security/protocol.ts';
import { startApp, type TestApp, testSecrets } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

const fiveMinutes = 5 * 60;
let app: TestApp;
let client: Registration;
let side: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp({ idle: true });
  await createExchangeApis(app);
  client = await registerClient(app);
  await allow(app, client, { [invoices]: ['read'], [photos]: ['read'] });
  side = await createApiSide(app, invoices);
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

/** The clock goes on from there at its usual pace, which for a test is none. */
function setClock(secondsFromNow: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + secondsFromNow * 1000 });
}

async function accountPage({ person }: SignedIn): Promise<number> {
  const response = await person.request('/account');
  await response.body?.cancel();
  return response.status;
}

/** A token for Invoices, in JWT form, by way of a refresh token. */
async function invoicesToken(tokens: Tokens): Promise<string> {
  const { status, body } = await refresh(app, client, tokens.refresh_token, { resource: invoices });
  expect(status, JSON.stringify(body)).toBe(200);
  return String(body.access_token);
}

const issueForInvoices = (person: SignedIn) =>
  issueTokens(app, client, person, { scope: 'openid offline_access read', prompt: 'consent', resource: invoices });

test.each([
  ['back', -fiveMinutes],
  ['forward', fiveMinutes],
])(
  'set %s: nobody is signed out, tokens stay good, new ones are good at once, and again when it is set right',
  async (_direction, step) => {
    const person = await signedInPerson(app);
    const tokens = await issueTokens(app, client, person);
    for (const seconds of [step, -step]) {
      setClock(seconds);
      expect(await accountPage(person)).toBe(200);
      expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
      expect(await userinfoStatus(app, (await issueTokens(app, client, person)).access_token)).toBe(200);
      expect(await accountPage(await signedInPerson(app))).toBe(200);
      const { body } = await refresh(app, client, tokens.refresh_token);
      tokens.refresh_token = String(body.refresh_token);
      expect(await userinfoStatus(app, String(body.access_token))).toBe(200);
    }
  },
);

test('set back: a token for an API is not older than the grant it hangs on, and believed', async () => {
  const tokens = await issueForInvoices(await signedInPerson(app));
  setClock(-fiveMinutes);
  expect(await introspect(app, side, await invoicesToken(tokens))).toMatchObject({ active: true });
});

test('set back: tokens for APIs, opaque ones too, are exchanged as before', async () => {
  const service = await createExchanger(app, { [stock]: ['look'], [photos]: [] });
  await permit(app, service, invoices, stock, 'impersonation');
  await permit(app, service, photos, stock, 'impersonation');
  const person = await signedInPerson(app);
  // The grant, which the tokens that follow hang on, too.
  await issueFor(app, client, person, photos);
  setClock(-fiveMinutes);
  for (const api of [photos, invoices]) {
    const { access_token } = await issueFor(app, client, person, api);
    expect(await exchange(app, service, access_token, { resource: stock }), api).toMatchObject({ status: 200 });
  }
});

test('set back: what was used is used, however short ago it seems (SECURITY 12, 17)', async () => {
  signedIn = await signedInPerson(app);
  const issued = await issueCode(app, client, signedIn);
  expect((await redeem(app, client, issued)).status).toBe(200);
  const rotated = await issueTokens(app, client, await signedInPerson(app));
  expect((await refresh(app, client, rotated.refresh_token)).status).toBe(200);
  await ageUses(app, 11);
  setClock(-fiveMinutes);
  expect((await redeem(app, client, issued)).status).toBe(400);
  expect((await refresh(app, client, rotated.refresh_token)).status).toBe(400);
});

test('no token is good after the time that it was given, wherever the clock was when that was', async () => {
  signedIn = await signedInPerson(app);
  for (const step of [fiveMinutes, -fiveMinutes]) {
    const { access_token } = await issueTokens(app, client, signedIn);
    const { exp } = await introspect(app, client, access_token);
    setClock(step);
    setClock(Number(exp) - Date.now() / 1000 - 1);
    expect(await userinfoStatus(app, access_token)).toBe(200);
    // The second in which it expires has begun.
    setClock(2);
    expect(await userinfoStatus(app, access_token)).toBe(401);
    vi.useRealTimers();
  }
});

test('set forward and right again: no key has changed, and no row is gone that is good', async () => {
  const encryption = createEncryption([Buffer.from(testSecrets.OIDC_ENCRYPTION_KEY, 'base64')]);
  signedIn = await signedInPerson(app);
  const tokens = await issueTokens(app, client, signedIn);
  const issued = await issueCode(app, client, signedIn);
  await tendRing(app.database.db, encryption, keyAlgorithms);
  const before = await ringKeys(app.database.db);
  for (const step of [fiveMinutes, -fiveMinutes, -fiveMinutes]) {
    setClock(step);
    await tendRing(app.database.db, encryption, keyAlgorithms);
    await sweep(app.database.db);
    expect(await ringKeys(app.database.db)).toEqual(before);
  }
  vi.useRealTimers();
  expect((await redeem(app, client, issued)).status, 'a code, which lives for a minute').toBe(200);
  expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
  expect(await accountPage(signedIn)).toBe(200);
});

test('set back: a limit that was met is over no later than ever', async () => {
  const register = async () => {
    const email = `${randomBytes(6).toString('hex')}@moreno.example`;
    const body = JSON.stringify({ email, password: 'correct horse battery', name: 'Ada Moreno' });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${app.origin}/auth/register`, { method: 'POST', headers, body });
    await response.body?.cancel();
    return response.status;
  };
  while ((await register()) === 201);
  expect(await register()).toBe(429);
  setClock(-fiveMinutes);
  expect(await register()).toBe(201);
});

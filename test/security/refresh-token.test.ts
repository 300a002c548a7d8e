/** Refresh tokens: rotated on every use, once each, for their client alone, and not for ever. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { refreshAbsoluteSeconds, refreshIdleSeconds } from '../../src/oidc/refresh-tokens.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  advance,
  ageUses,
  issueTokens,
  post,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from './protocol.ts';

/** As it comes, … */
let lenient: TestApp;
/** … and with REFRESH_TOKEN_LEEWAY=0. */
let strict: TestApp;
const clients = new Map<TestApp, { open: Registration; confidential: Registration; signedIn: SignedIn }>();

beforeAll(async () => {
  lenient = await startApp();
  strict = await startApp({ env: { REFRESH_TOKEN_LEEWAY: '0' } });
  for (const app of [lenient, strict]) {
    clients.set(app, {
      open: await registerClient(app, { token_endpoint_auth_method: 'none' }),
      confidential: await registerClient(app),
      signedIn: await signedInPerson(app),
    });
  }
});
afterAll(async () => {
  await lenient.close();
  await strict.close();
});
afterEach(() => {
  vi.useRealTimers();
});

function of(app: TestApp) {
  const found = clients.get(app);
  if (!found) throw new Error('no clients');
  return found;
}

async function refreshed(app: TestApp, client: Registration, token: string): Promise<Tokens> {
  const { status, body } = await refresh(app, client, token);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Tokens;
}

const invalidGrant = { status: 400, body: { error: 'invalid_grant' } };

describe.each(['open', 'confidential'] as const)('of a client that is %s', (kind) => {
  test('every use gives a new one (SECURITY 16)', async () => {
    const { [kind]: client, signedIn } = of(strict);
    const first = await issueTokens(strict, client, signedIn);
    const second = await refreshed(strict, client, first.refresh_token);
    const third = await refreshed(strict, client, second.refresh_token);
    expect(new Set([first, second, third].map(({ refresh_token }) => refresh_token)).size).toBe(3);
    expect(await userinfoStatus(strict, third.access_token)).toBe(200);
  });

  test('strictly: a used one is refused and ends the whole family (SECURITY 16, 17)', async () => {
    const { [kind]: client, signedIn } = of(strict);
    const first = await issueTokens(strict, client, signedIn);
    const second = await refreshed(strict, client, first.refresh_token);
    const third = await refreshed(strict, client, second.refresh_token);
    expect(await refresh(strict, client, first.refresh_token)).toMatchObject(invalidGrant);
    expect(await refresh(strict, client, third.refresh_token)).toMatchObject(invalidGrant);
    const alive = await Promise.all([first, second, third].map((t) => userinfoStatus(strict, t.access_token)));
    expect(alive).toEqual([401, 401, 401]);
  });

  test('strictly: of eight parallel uses exactly one wins (SECURITY 18)', async () => {
    const { [kind]: client, signedIn } = of(strict);
    const { refresh_token } = await issueTokens(strict, client, signedIn);
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(strict, client, refresh_token)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400, 400, 400, 400, 400, 400]);
    for (const loser of answers.filter(({ status }) => status === 400)) expect(loser).toMatchObject(invalidGrant);
  });

  test('with the leeway: a lost answer may be asked for again, in parallel or a little later', async () => {
    const { [kind]: client, signedIn } = of(lenient);
    const { refresh_token } = await issueTokens(lenient, client, signedIn);
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(lenient, client, refresh_token)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    await ageUses(lenient, 8);
    const again = await refreshed(lenient, client, refresh_token);
    expect(await userinfoStatus(lenient, again.access_token)).toBe(200);
  });

  test('with the leeway: after it, a used one ends the family, live descendants too (SECURITY 17)', async () => {
    const { [kind]: client, signedIn } = of(lenient);
    const first = await issueTokens(lenient, client, signedIn);
    const second = await refreshed(lenient, client, first.refresh_token);
    await ageUses(lenient, 8);
    // Using it in the leeway does not make the leeway longer.
    const branch = await refreshed(lenient, client, first.refresh_token);
    await ageUses(lenient, 3);
    expect(await refresh(lenient, client, first.refresh_token)).toMatchObject(invalidGrant);
    for (const tokens of [second, branch]) {
      expect(await refresh(lenient, client, tokens.refresh_token)).toMatchObject(invalidGrant);
      expect(await userinfoStatus(lenient, tokens.access_token)).toBe(401);
    }
  });
});

test('a reuse ends one family: what the person allowed elsewhere stays', async () => {
  const { confidential, open, signedIn } = of(strict);
  const elsewhere = await signedInPerson(strict);
  const [own, otherClient, otherPerson] = [
    await issueTokens(strict, confidential, signedIn),
    await issueTokens(strict, open, signedIn),
    await issueTokens(strict, confidential, elsewhere),
  ];
  await refreshed(strict, confidential, own.refresh_token);
  expect(await refresh(strict, confidential, own.refresh_token)).toMatchObject(invalidGrant);
  await refreshed(strict, open, otherClient.refresh_token);
  await refreshed(strict, confidential, otherPerson.refresh_token);
});

describe('a refresh token belongs to its client (SECURITY 19)', () => {
  test('another client cannot use it, and trying ends nothing', async () => {
    const { confidential, open, signedIn } = of(strict);
    const { refresh_token } = await issueTokens(strict, confidential, signedIn);
    expect(await refresh(strict, open, refresh_token)).toMatchObject(invalidGrant);
    const other = await registerClient(strict);
    expect(await refresh(strict, other, refresh_token)).toMatchObject(invalidGrant);
    await refreshed(strict, confidential, refresh_token);
  });

  test('nobody can use it without the client’s credentials', async () => {
    const { confidential, signedIn } = of(strict);
    const { refresh_token } = await issueTokens(strict, confidential, signedIn);
    const { client_id } = confidential;
    const grant = { grant_type: 'refresh_token', refresh_token };
    expect((await post(strict, 'token', grant)).status).toBe(400);
    expect((await post(strict, 'token', { ...grant, client_id })).body.error).toBe('invalid_client');
    const guess = { client_id, client_secret: 'guess' };
    expect((await post(strict, 'token', grant, guess)).body.error).toBe('invalid_client');
    expect((await post(strict, 'token', { ...grant, ...guess })).body.error).toBe('invalid_client');
    await refreshed(strict, confidential, refresh_token);
  });

  test.each(['', 'x', 'a\0b', 'undefined'])('what is none is refused: %j', async (token) => {
    const { status, body } = await refresh(strict, of(strict).confidential, token);
    expect([status, body.error]).toEqual([400, token === '' ? 'invalid_request' : 'invalid_grant']);
  });
});

describe('a family ends (SECURITY 20)', () => {
  test('when it is not used for long enough', async () => {
    const { confidential, signedIn } = of(strict);
    const { refresh_token } = await issueTokens(strict, confidential, signedIn);
    advance(refreshIdleSeconds - 60);
    const next = await refreshed(strict, confidential, refresh_token);
    advance(refreshIdleSeconds + 60);
    expect(await refresh(strict, confidential, next.refresh_token)).toMatchObject(invalidGrant);
  });

  test('at its absolute end, however often it is rotated', async () => {
    const { confidential, signedIn } = of(strict);
    const start = Date.now();
    let tokens = await issueTokens(strict, confidential, signedIn);
    vi.useFakeTimers({ toFake: ['Date'] });
    const step = refreshIdleSeconds - 60;
    for (let passed = step; passed < refreshAbsoluteSeconds; passed += step) {
      vi.setSystemTime(start + passed * 1000);
      tokens = await refreshed(strict, confidential, tokens.refresh_token);
    }
    vi.setSystemTime(start + (refreshAbsoluteSeconds - 60) * 1000);
    tokens = await refreshed(strict, confidential, tokens.refresh_token);
    vi.setSystemTime(start + (refreshAbsoluteSeconds + 60) * 1000);
    expect(await refresh(strict, confidential, tokens.refresh_token)).toMatchObject(invalidGrant);
  });
});

describe('scope of a refresh (SECURITY 22)', () => {
  test('may be narrower, for this access token only', async () => {
    const { confidential, signedIn } = of(strict);
    const { refresh_token } = await issueTokens(strict, confidential, signedIn);
    const narrow = await refresh(strict, confidential, refresh_token, { scope: 'openid' });
    expect([narrow.status, narrow.body.scope]).toEqual([200, 'openid']);
    const wide = await refresh(strict, confidential, String(narrow.body.refresh_token));
    expect(String(wide.body.scope).split(' ').sort()).toEqual(['offline_access', 'openid', 'profile']);
  });

  test.each(['openid email', 'openid profile offline_access phone', 'admin'])('is never wider: %s', async (scope) => {
    const { confidential, signedIn } = of(strict);
    const { refresh_token } = await issueTokens(strict, confidential, signedIn);
    const wider = await refresh(strict, confidential, refresh_token, { scope });
    expect([wider.status, wider.body.error, wider.body.access_token]).toEqual([400, 'invalid_scope', undefined]);
    await refreshed(strict, confidential, refresh_token);
  });
});

/** An authorization code: once, soon, by the client and for the redirect URI it was issued for. */
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  advance,
  issueCode,
  pkce,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let open: Registration;
let other: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  signedIn = await signedInPerson(app);
  client = await registerClient(app, { redirect_uris: [`${app.origin}/callback`, 'https://client.example/cb'] });
  open = await registerClient(app, { token_endpoint_auth_method: 'none' });
  other = await registerClient(app);
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

const stayConnected = { scope: 'openid offline_access', prompt: 'consent' };

async function isAlive(who: Registration, tokens: Tokens): Promise<boolean[]> {
  const userinfo = await userinfoStatus(app, tokens.access_token);
  const refreshed = await refresh(app, who, tokens.refresh_token);
  return [userinfo === 200, refreshed.status === 200];
}

describe('a code works once (SECURITY 11)', () => {
  test('the second use is invalid_grant and ends every token of the first', async () => {
    const issued = await issueCode(app, client, signedIn, stayConnected);
    const first = await redeem(app, client, issued);
    const tokens = first.body as Tokens;
    expect(await userinfoStatus(app, tokens.access_token)).toBe(200);
    const second = await redeem(app, client, issued);
    expect([second.status, second.body.error]).toEqual([400, 'invalid_grant']);
    expect(await isAlive(client, tokens)).toEqual([false, false]);
  });

  test('so does one long after, when the tokens were refreshed meanwhile', async () => {
    const issued = await issueCode(app, client, signedIn, stayConnected);
    const first = (await redeem(app, client, issued)).body as Tokens;
    const refreshed = (await refresh(app, client, first.refresh_token)).body as Tokens;
    advance(30);
    expect((await redeem(app, client, issued)).body.error).toBe('invalid_grant');
    expect(await isAlive(client, refreshed)).toEqual([false, false]);
  });

  test('a replay ends what came of this sign-in, not the person’s other one', async () => {
    const elsewhere = await signedInPerson(app);
    const kept = (await redeem(app, client, await issueCode(app, client, elsewhere, stayConnected))).body as Tokens;
    const issued = await issueCode(app, client, signedIn, stayConnected);
    await redeem(app, client, issued);
    await redeem(app, client, issued);
    expect(await isAlive(client, kept)).toEqual([true, true]);
  });
});

test('what a redemption under way stores after the replay stays dead when the person comes back', async () => {
  const issued = await issueCode(app, client, signedIn, stayConnected);
  const tokens = (await redeem(app, client, issued)).body as Tokens;
  const { db } = app.database;
  await db.execute(sql`create table under_way as select * from oidc_grants where client_id = ${client.client_id}
    and model in ('AccessToken', 'RefreshToken') and grant_id is not null`);
  await redeem(app, client, issued);
  expect(await isAlive(client, tokens)).toEqual([false, false]);
  await db.execute(sql`insert into oidc_grants select * from under_way on conflict do nothing`);
  expect((await redeem(app, client, await issueCode(app, client, signedIn))).status).toBe(200);
  expect(await isAlive(client, tokens)).toEqual([false, false]);
});

describe('a replay by somebody who only has the code', () => {
  // A thief of the code must not be able to sign the person out of the client.
  test.each([
    ['a wrong verifier', { code_verifier: pkce().verifier }],
    ['no verifier', { code_verifier: undefined }],
    ['another redirect URI', { redirect_uri: 'https://client.example/cb' }],
  ])('with %s is refused and ends nothing', async (_kind, changes) => {
    const issued = await issueCode(app, client, signedIn, stayConnected);
    const tokens = (await redeem(app, client, issued)).body as Tokens;
    const replay = await redeem(app, client, issued, changes);
    expect([replay.status, replay.body.error]).toEqual([400, 'invalid_grant']);
    expect(await isAlive(client, tokens)).toEqual([true, true]);
  });

  test('as another client ends nothing either', async () => {
    const issued = await issueCode(app, client, signedIn, stayConnected);
    const tokens = (await redeem(app, client, issued)).body as Tokens;
    expect((await redeem(app, other, issued)).body.error).toBe('invalid_grant');
    expect(await isAlive(client, tokens)).toEqual([true, true]);
  });
});

test('of eight parallel redemptions exactly one wins (SECURITY 12)', async () => {
  for (const who of [client, open]) {
    const issued = await issueCode(app, who, signedIn);
    const answers = await Promise.all(Array.from({ length: 8 }, () => redeem(app, who, issued)));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([200, 400, 400, 400, 400, 400, 400, 400]);
    const losers = answers.filter(({ status }) => status === 400);
    expect(new Set(losers.map(({ body }) => body.error))).toEqual(new Set(['invalid_grant']));
  }
});

describe('a code lives for 60 seconds (SECURITY 13)', () => {
  test('and works until then', async () => {
    const issued = await issueCode(app, client, signedIn);
    advance(55);
    expect((await redeem(app, client, issued)).status).toBe(200);
  });

  test('and not longer', async () => {
    const issued = await issueCode(app, client, signedIn);
    advance(61);
    const late = await redeem(app, client, issued);
    expect([late.status, late.body.error]).toEqual([400, 'invalid_grant']);
  });

  test('as its row says', async () => {
    await issueCode(app, client, signedIn);
    const { rows } = await app.database.db.execute<{ longest: boolean }>(
      sql`select max(expires_at) > ${new Date(Date.now() + 60_000).toISOString()}::timestamptz as longest
          from oidc_grants where model = 'AuthorizationCode'`,
    );
    expect(rows).toEqual([{ longest: false }]);
  });
});

describe('a code belongs (SECURITY 14)', () => {
  test('to its client', async () => {
    const issued = await issueCode(app, client, signedIn);
    for (const thief of [other, open]) {
      const stolen = await redeem(app, thief, issued);
      expect([stolen.status, stolen.body.error]).toEqual([400, 'invalid_grant']);
    }
    expect((await redeem(app, client, issued)).status).toBe(200);
  });

  test('to a client that authenticates', async () => {
    const issued = await issueCode(app, client, signedIn);
    const impostors = [
      { client_id: client.client_id },
      { client_id: client.client_id, client_secret: 'guess' },
      { client_id: 'c_unknown', client_secret: 'guess' },
    ];
    for (const impostor of impostors) {
      const stolen = await redeem(app, impostor, issued);
      expect([stolen.status, stolen.body.error]).toEqual([401, 'invalid_client']);
    }
    expect((await redeem(app, client, issued)).status).toBe(200);
  });

  test.each([
    ['another registered one', 'https://client.example/cb'],
    ['none', undefined],
    ['one that is almost the same', 'trailing'],
  ])('to its redirect URI, not to %s', async (kind, uri) => {
    const issued = await issueCode(app, client, signedIn);
    const redirect_uri = uri === 'trailing' ? `${issued.redirectUri}/` : uri;
    const refused = await redeem(app, client, issued, { redirect_uri });
    expect([refused.status, refused.body.error], kind).toEqual([400, uri ? 'invalid_grant' : 'invalid_request']);
    expect((await redeem(app, client, issued)).status).toBe(200);
  });
});

/** Tokens die with what they stand on: the session, the consent, the account (SECURITY 21). */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  issueCode,
  issueTokens,
  makeFirstParty,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let own: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app);
  own = await registerClient(app);
  await makeFirstParty(app, own);
});
beforeEach(async () => {
  signedIn = await signedInPerson(app);
});
afterAll(() => app.close());

const ownOrigin = () => ({ origin: app.origin, 'sec-fetch-site': 'same-origin' });

/** Which of userinfo, introspection and refresh still accept the tokens. Refreshing comes last, since it rotates. */
async function accepted(who: Registration, tokens: Partial<Tokens>): Promise<string[]> {
  const { access_token = '', refresh_token } = tokens;
  const introspection = await post(app, 'introspection', { token: access_token }, who);
  const answers: [string, boolean][] = [
    ['userinfo', (await userinfoStatus(app, access_token)) === 200],
    ['introspection', introspection.body.active === true],
    ['refresh', refresh_token !== undefined && (await refresh(app, who, refresh_token)).status === 200],
  ];
  return answers.flatMap(([name, works]) => (works ? [name] : []));
}

const everywhere = ['userinfo', 'introspection', 'refresh'];

describe.each([
  [
    'at this server',
    async () => {
      const response = await signedIn.person.request('/auth/logout', { method: 'POST', headers: ownOrigin() });
      expect(response.status).toBeLessThan(400);
    },
  ],
  [
    'at a client',
    async () => {
      const page = await signedIn.person.open('/oidc/session/end');
      expect((await signedIn.person.submit(page, 'logout', {}, 'logout-confirm')).status).toBe(200);
    },
  ],
])('signing out %s', (_where, signOut) => {
  test('ends what clients hold for the time of the session', async () => {
    const bound = await issueTokens(app, own, signedIn, { scope: 'openid' });
    const short = await issueTokens(app, client, signedIn, { scope: 'openid' });
    expect(bound.refresh_token).toBeTruthy();
    expect(short.refresh_token).toBeUndefined();
    expect(await userinfoStatus(app, bound.access_token)).toBe(200);
    await signOut();
    expect(await accepted(own, bound)).toEqual([]);
    expect(await accepted(client, short)).toEqual([]);
  });

  test('ends a code that was not redeemed yet', async () => {
    const issued = await issueCode(app, client, signedIn, { scope: 'openid' });
    await signOut();
    const { status, body } = await redeem(app, client, issued);
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
  });

  test('leaves what the person allowed while away', async () => {
    const offline = await issueTokens(app, client, signedIn);
    await signOut();
    expect(await accepted(client, offline)).toEqual(everywhere);
  });
});

describe('withdrawing a consent', () => {
  const disconnect = async () => {
    const url = `/account/apps/${client.client_id}/disconnection`;
    const response = await signedIn.person.request(url, { method: 'POST', headers: ownOrigin() });
    expect(response.status).toBeLessThan(400);
  };

  test('ends all tokens of that client, and the next request asks again', async () => {
    const offline = await issueTokens(app, client, signedIn);
    const issued = await issueCode(app, client, signedIn, { scope: 'openid' });
    await disconnect();
    expect(await accepted(client, offline)).toEqual([]);
    expect((await redeem(app, client, issued)).body.error).toBe('invalid_grant');
    const response = await signedIn.person.request(
      `/oidc/auth?${new URLSearchParams({
        client_id: client.client_id,
        response_type: 'code',
        redirect_uri: `${app.origin}/callback`,
        scope: 'openid',
        prompt: 'none',
      })}`,
    );
    expect(response.headers.get('location')).toContain('error=consent_required');
  });

  test('ends those of every session, and of nobody else', async () => {
    const other = await signedInPerson(app);
    const kept = await issueTokens(app, client, other);
    const elsewhere = await issueTokens(app, client, signedIn);
    await signedIn.person.request('/auth/logout', { method: 'POST', headers: ownOrigin() });
    const { email, password } = signedIn.account;
    const body = new URLSearchParams({ email, password });
    await signedIn.person.request('/auth/login', { method: 'POST', body, headers: ownOrigin() });
    await disconnect();
    expect(await accepted(client, elsewhere)).toEqual([]);
    expect(await accepted(client, kept)).toEqual(everywhere);
  });

  test('ends the client’s tokens only', async () => {
    const other = await registerClient(app);
    const kept = await issueTokens(app, other, signedIn);
    await issueTokens(app, client, signedIn);
    await disconnect();
    expect(await accepted(other, kept)).toEqual(everywhere);
  });
});

describe.each([
  ['suspended', () => sql`update users set suspended_at = now() where id = ${signedIn.account.sub}`],
  ['deleted', () => sql`delete from users where id = ${signedIn.account.sub}`],
])('an account that is %s', (_state, statement) => {
  test('has no token that works, and gets none for a code under way', async () => {
    const offline = await issueTokens(app, client, signedIn);
    const bound = await issueTokens(app, own, signedIn, { scope: 'openid' });
    const issued = await issueCode(app, client, signedIn, { scope: 'openid' });
    await app.database.db.execute(statement());
    expect(await accepted(client, offline)).toEqual([]);
    expect(await accepted(own, bound)).toEqual([]);
    expect((await redeem(app, client, issued)).body.error).toBe('invalid_grant');
  });

  test('is asked to sign in, and silently refused', async () => {
    await issueCode(app, client, signedIn, { scope: 'openid' });
    await app.database.db.execute(statement());
    const url = `/oidc/auth?${new URLSearchParams({
      client_id: client.client_id,
      response_type: 'code',
      redirect_uri: `${app.origin}/callback`,
      scope: 'openid',
    })}`;
    const silent = await signedIn.person.request(`${url}&prompt=none`);
    expect(silent.headers.get('location')).toContain('error=login_required');
    expect((await signedIn.person.open(url)).html).toContain('id="login"');
  });
});

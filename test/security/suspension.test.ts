/** A suspended account is as good as absent, from that moment on and for everybody (SECURITY 21). */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { reinstateAccount, suspendAccount } from '../../src/accounts/suspension.ts';
import { endSessionsOf } from '../../src/oidc/session-end.ts';
import { createExchangeApis, createExchanger, exchange, issueFor, permit } from '../apis/exchange.ts';
import { allow as allowApi, introspect, invoices, photos } from '../apis/fixture.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { createPerson, readText } from '../support/person.ts';
import {
  allow,
  password,
  type Registration,
  registerAccount,
  registerClient,
  signIn,
} from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let service: Registration;
let ada: SignedIn;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app);
  await createExchangeApis(app);
  service = await createExchanger(app, { [photos]: ['read'] });
  await permit(app, service, invoices, photos, 'delegation');
  await allowApi(app, client, { [invoices]: ['read'] });
});
beforeEach(async () => {
  ada = await signedInPerson(app);
});
afterAll(() => app.close());

const suspend = (sub = ada.account.sub) => suspendAccount(app.database.db, endSessionsOf, sub, {});
const reinstate = (sub = ada.account.sub) => reinstateAccount(app.database.db, sub, {});

async function liveSessions(sub: string): Promise<number> {
  const { rows } = await app.database.db.execute(
    sql`select uid from oidc_sessions where account_id = ${sub} and ended_at is null`,
  );
  return rows.length;
}

describe('ends at once, and does not come back with the account:', () => {
  type Probe = () => Promise<boolean>;
  /** Each has something made before and answers whether it still works. */
  const things: Record<string, () => Promise<Probe>> = {
    async 'an access token at userinfo'() {
      const { access_token } = await issueTokens(app, client, ada);
      return async () => (await userinfoStatus(app, access_token)) === 200;
    },
    async 'an access token at introspection'() {
      const { access_token } = await issueTokens(app, client, ada);
      return async () => (await introspect(app, client, access_token)).active === true;
    },
    async 'a JWT at introspection'() {
      const { access_token } = await issueFor(app, client, ada, invoices);
      return async () => (await introspect(app, client, access_token)).active === true;
    },
    async 'a refresh token'() {
      let { refresh_token } = await issueTokens(app, client, ada);
      return async () => {
        const { status, body } = await refresh(app, client, refresh_token);
        if (status === 200) refresh_token = String(body.refresh_token);
        return status === 200;
      };
    },
    async 'a token to be exchanged'() {
      const { access_token } = await issueFor(app, client, ada, invoices);
      return async () => (await exchange(app, service, access_token, { resource: photos })).status === 200;
    },
    async 'an exchanged token'() {
      const { access_token } = await issueFor(app, client, ada, invoices);
      const { body } = await exchange(app, service, access_token, { resource: photos });
      return async () => (await introspect(app, service, body.access_token)).active === true;
    },
    async 'the session in the browser'() {
      return async () => (await ada.person.request('/account')).status === 200;
    },
    async 'the session at clients'() {
      await issueTokens(app, client, ada, { scope: 'openid' });
      const url = authorizationUrl(app, client, { prompt: 'none' });
      return async () => (await ada.person.open(url)).left?.searchParams.has('code') === true;
    },
  };

  test.each(Object.keys(things))('%s', async (name) => {
    const works = await (things[name] as () => Promise<Probe>)();
    expect(await works()).toBe(true);
    await suspend();
    expect(await works()).toBe(false);
    await reinstate();
    expect(await works()).toBe(false);
  });

  test('a code on its way', async () => {
    const issued = await issueCode(app, client, ada);
    await suspend();
    expect(await redeem(app, client, issued)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    await reinstate();
    expect(await redeem(app, client, issued)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test('a device that was let in and has not polled yet', async () => {
    const tv = await registerDevice(app);
    const device = await startDevice(app, tv);
    const confirm = await enterCode(ada.person, device.user_code);
    await allow(ada.person, await ada.person.submit(confirm, 'device-confirm', {}, 'device-approve'));
    await suspend();
    expect((await pollOnce(app, tv, device)).status).toBe(400);
    await reinstate();
    expect((await pollOnce(app, tv, device)).status).toBe(400);
  });

  test('a consent page that was open', async () => {
    const page = await ada.person.open(authorizationUrl(app, client, { scope: 'openid email' }));
    await suspend();
    expect((await allow(ada.person, page)).left).toBeUndefined();
    await reinstate();
    expect((await allow(ada.person, page)).left).toBeUndefined();
  });
});

describe('signing in', () => {
  test('with the right password is told that the account is suspended, with any other what a stranger is told', async () => {
    await suspend();
    const say = async (email: string, typed: string) => {
      const person = createPerson(app.origin);
      const page = await signIn(person, await person.open('/auth/login'), { email, password: typed });
      expect(person.jar.has('latchkey_session /')).toBe(false);
      return { status: page.status, text: readText(page.html).replaceAll(email, '') };
    };
    const right = await say(ada.account.email, password);
    expect(right).toMatchObject({ status: 403, text: expect.stringContaining('This account is suspended.') });
    const wrong = await say(ada.account.email, 'tram window salt organ');
    expect(wrong).toEqual(await say('nobody@moreno.example', 'tram window salt organ'));
    expect(wrong.text).not.toContain('suspended');
    expect(await liveSessions(ada.account.sub)).toBe(0);
  });

  test('through a client ends on the same page', async () => {
    await suspend();
    const person = createPerson(app.origin);
    const page = await signIn(person, await person.open(authorizationUrl(app, client)), ada.account);
    expect([page.status, page.left]).toEqual([403, undefined]);
    expect(readText(page.html)).toContain('This account is suspended.');
  });

  test('works again once reinstated, and what apps were allowed is remembered', async () => {
    await issueTokens(app, client, ada, { scope: 'openid profile' });
    await suspend();
    await reinstate();
    const person = createPerson(app.origin);
    const page = await person.open(authorizationUrl(app, client, { scope: 'openid profile' }));
    expect((await signIn(person, page, ada.account)).left?.searchParams.get('code')).toBeTruthy();
  });

  test('while the account is suspended leaves no session, whoever comes first', async () => {
    const tries = Array.from({ length: 8 }, async () => {
      const response = await fetch(`${app.origin}/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email: ada.account.email, password }),
      });
      return response.status;
    });
    const [, ...statuses] = await Promise.all([suspend(), ...tries]);
    expect(statuses.filter((status) => ![200, 401, 403].includes(status))).toEqual([]);
    expect(await liveSessions(ada.account.sub)).toBe(0);
  });
});

// Two sessions: where the account was made, and this person's browser.
test('of eight suspensions at once one ends everything, and there is one record', async () => {
  await issueTokens(app, client, ada);
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => suspend()));
  expect(outcomes.filter(Boolean)).toEqual([{ sessions: 2, logouts: 0 }]);
  const { rows } = await app.database.db.execute(
    sql`select outcome, details from audit_events where event = 'account.suspended' and account_id = ${ada.account.sub}`,
  );
  expect(rows).toEqual([{ outcome: 'success', details: { sessions: 2, logouts: 0 } }]);
});

test('clients that asked for it are told', async () => {
  const told = await registerClient(app, { backchannel_logout_uri: 'https://rp.example/logout' });
  await issueTokens(app, told, ada, { scope: 'openid' });
  expect(await suspend()).toEqual({ sessions: 2, logouts: 1 });
});

test('nobody else notices', async () => {
  const eve = await signedInPerson(app);
  const { access_token } = await issueTokens(app, client, eve);
  await suspend();
  expect(await userinfoStatus(app, access_token)).toBe(200);
  expect((await eve.person.request('/account')).status).toBe(200);
  expect(await suspend('u_nobody')).toBeUndefined();
  await registerAccount(app);
});

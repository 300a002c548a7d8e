/** OIDC Back-Channel Logout 1.0: whoever was signed in to through here is told when that ends. */

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { createRemoteJWKSet, decodeJwt, type JWTPayload, jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { signOutEverywhere } from '../../src/oidc/session-end.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  redeem,
  type SignedIn,
  signedInPerson,
  type Tokens,
} from '../security/protocol.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { freePort } from '../support/listen.ts';
import {
  accepts,
  hangs,
  type LogoutAnswer,
  type LogoutReceiver,
  refusesWith,
  startLogoutReceiver,
} from '../support/logout-receiver.ts';
import { createPerson } from '../support/person.ts';
import { password, type Registration, registerAccount, registerClient, signIn } from '../support/relying-party.ts';

const event = 'http://schemas.openid.net/event/backchannel-logout';

let app: TestApp;
let receiver: LogoutReceiver;
let client: Registration;

beforeAll(async () => {
  app = await startApp({ env: { OUTBOUND_ALLOW: '127.0.0.1' } });
  receiver = await startLogoutReceiver();
  client = await toldAt(receiver);
});
afterEach(async () => {
  receiver.answer = accepts;
  // More people than one address may register in a minute.
  await app.database.db.execute(sql`delete from throttles`);
});
afterAll(async () => {
  await app.close();
  await receiver.close();
});

function toldAt({ uri }: { uri: string }, metadata: Record<string, unknown> = {}, at = app): Promise<Registration> {
  return registerClient(at, {
    backchannel_logout_uri: uri,
    backchannel_logout_session_required: true,
    post_logout_redirect_uris: ['https://client.example/bye'],
    ...metadata,
  });
}

async function receiverForTest(answer?: LogoutAnswer): Promise<LogoutReceiver> {
  const own = await startLogoutReceiver(answer);
  onTestFinished(() => own.close());
  return own;
}

/** A person who has just registered, and is signed in with that. */
async function newcomer(): Promise<SignedIn> {
  const person = createPerson(app.origin);
  const account = { email: `${randomUUID()}@moreno.example`, name: 'Ada Moreno', password };
  const headers = { 'content-type': 'application/json' };
  const response = await person.request('/auth/register', { method: 'POST', body: JSON.stringify(account), headers });
  return { person, account: { ...account, ...((await response.json()) as { sub: string }) } };
}

/** A person signed in at the client, for the time of the session. */
async function signedInAt(who: Registration, person?: SignedIn): Promise<SignedIn & { tokens: Tokens }> {
  const signedIn = person ?? (await newcomer());
  return { ...signedIn, tokens: await issueTokens(app, who, signedIn, { scope: 'openid' }) };
}

const ownForm = () => ({ origin: app.origin, 'sec-fetch-site': 'same-origin' });
const post = (who: SignedIn, path: string, body: Record<string, string> = {}) =>
  who.person.request(path, { method: 'POST', body: new URLSearchParams(body), headers: ownForm() });
const signOut = (who: SignedIn) => post(who, '/auth/logout');

async function answerLogoutPage(who: SignedIn & { tokens: Tokens }, button: 'logout-confirm' | 'logout-stay') {
  const query = { id_token_hint: who.tokens.id_token, post_logout_redirect_uri: 'https://client.example/bye' };
  const page = await who.person.open(`/oidc/session/end?${new URLSearchParams(query)}`);
  return who.person.submit(page, 'logout', {}, button);
}

async function verify(token: string, audience: string): Promise<JWTPayload> {
  const keys = createRemoteJWKSet(new URL(`${app.issuer}/jwks`));
  const { payload, protectedHeader } = await jwtVerify(token, keys, {
    issuer: app.issuer,
    audience,
    typ: 'logout+jwt',
    requiredClaims: ['iat', 'exp', 'jti', 'events'],
  });
  expect(protectedHeader.alg).toBe('RS256');
  return payload;
}

/** How often each was tried that is still queued for a client. */
async function queue(who: Registration): Promise<number[]> {
  const { rows } = await app.database.db.execute<{ attempts: number }>(
    sql`select attempts from backchannel_logouts where client_id = ${who.client_id}`,
  );
  return rows.map(({ attempts }) => attempts);
}

async function events(who: Registration): Promise<Record<string, unknown>[]> {
  const { rows } = await app.database.db.execute(sql`
    select event, account_id, details from audit_events
    where client_id = ${who.client_id} and event like 'logout.%' order by id`);
  return rows;
}

/** Lets the time of the next attempt come, and somebody sign in, which is when the queue is looked at. */
async function letTheTimeCome(who: Registration, attempts?: number): Promise<void> {
  await app.database.db.execute(sql`
    update backchannel_logouts set next_attempt_at = now(), attempts = coalesce(${attempts ?? null}::int, attempts)
    where client_id = ${who.client_id}`);
  await newcomer();
}

const soon = <T>(check: () => Promise<T> | T) => vi.waitFor(check, { timeout: 10_000, interval: 20 });

test('is advertised', async () => {
  const metadata = await (await fetch(`${app.issuer}/.well-known/openid-configuration`)).json();
  expect(metadata).toMatchObject({ backchannel_logout_supported: true, backchannel_logout_session_supported: true });
});

describe('the logout token', () => {
  test('is signed for the client and says who and which session, and nothing else (SECURITY 37)', async () => {
    const who = await signedInAt(client);
    const before = Math.floor(Date.now() / 1000);
    const { left } = await answerLogoutPage(who, 'logout-confirm');
    expect(left?.href).toBe('https://client.example/bye');
    const claims = await verify(await receiver.next(), client.client_id);
    expect(receiver.received.at(-1)).toMatchObject({ contentType: 'application/x-www-form-urlencoded' });
    expect([...(receiver.received.at(-1)?.body.keys() ?? [])]).toEqual(['logout_token']);
    expect(claims).toEqual({
      iss: app.issuer,
      aud: client.client_id,
      sub: who.account.sub,
      sid: decodeJwt(who.tokens.id_token).sid,
      events: { [event]: {} },
      jti: expect.stringMatching(/^.{16,}$/),
      iat: expect.any(Number),
      exp: expect.any(Number),
    });
    const { iat = 0, exp = 0 } = claims;
    expect(iat).toBeGreaterThanOrEqual(before);
    expect(exp - iat).toBeLessThanOrEqual(120);
    await soon(async () => {
      expect(await queue(client)).toEqual([]);
      expect(await events(client)).toContainEqual({
        event: 'logout.delivered',
        account_id: who.account.sub,
        details: { attempts: 1 },
      });
    });
  });

  test('has the subject that this client knows, and no sid for one that did not ask for it', async () => {
    const own = await receiverForTest();
    const pairwise = await toldAt(own, { subject_type: 'pairwise', backchannel_logout_session_required: false });
    const who = await signedInAt(pairwise);
    await signOut(who);
    const claims = await verify(await own.next(), pairwise.client_id);
    expect(claims.sub).toBe(decodeJwt(who.tokens.id_token).sub);
    expect(claims.sub).not.toBe(who.account.sub);
    expect(claims).not.toHaveProperty('sid');
  });

  test('is signed as the client’s ID tokens are', async () => {
    const own = await receiverForTest();
    const es256 = await toldAt(own, { id_token_signed_response_alg: 'ES256' });
    await signOut(await signedInAt(es256));
    const keys = createRemoteJWKSet(new URL(`${app.issuer}/jwks`));
    await expect(jwtVerify(await own.next(), keys, { algorithms: ['ES256'] })).resolves.toBeTruthy();
  });
});

describe('clients are told (SECURITY 33)', () => {
  test.each<[string, (who: SignedIn & { tokens: Tokens }) => Promise<unknown>]>([
    ['signs out here', signOut],
    ['signs out at a client and here', (who) => answerLogoutPage(who, 'logout-confirm')],
    ['signs out at a client and stays signed in here', (who) => answerLogoutPage(who, 'logout-stay')],
    ['signs out everywhere', (who) => post(who, '/account/sign-out')],
    [
      'is signed out by the operator',
      async (who) => {
        await signOutEverywhere(app.database.db, who.account.sub);
        await newcomer();
      },
    ],
    [
      'changes the password',
      (who) =>
        post(who, '/account/password', { current_password: who.account.password, new_password: 'tidewater kestrel' }),
    ],
    [
      'makes room for somebody else in this browser',
      async (who) => {
        const bob = await registerAccount(app);
        await post(who, '/auth/login', { email: bob.email, password: bob.password });
      },
    ],
  ])('when a person %s', async (_how, end) => {
    const own = await receiverForTest();
    const told = await toldAt(own);
    const who = await signedInAt(told);
    await end(who);
    const claims = await verify(await own.next(), told.client_id);
    expect(claims).toMatchObject({ sub: who.account.sub, sid: decodeJwt(who.tokens.id_token).sid });
    await soon(async () => expect(await queue(told)).toEqual([]));
    expect(own.received).toHaveLength(1);
  });

  test('each of them that the session knew, and of every session that ends', async () => {
    const receivers = [await receiverForTest(), await receiverForTest()] as const;
    const clients = await Promise.all(receivers.map((own) => toldAt(own)));
    const here = await newcomer();
    const there = { ...here, person: createPerson(app.origin) };
    await signIn(there.person, await there.person.open('/auth/login'), here.account);
    const sids: unknown[] = [];
    for (const who of [here, there]) {
      for (const told of clients) sids.push(decodeJwt((await signedInAt(told, who)).tokens.id_token).sid);
    }
    await post(here, '/account/sign-out');
    const got: unknown[] = [];
    for (const own of receivers) for (const _ of [1, 2]) got.push(decodeJwt(await own.next()).sid);
    expect(new Set(got)).toEqual(new Set(sids));
    expect(new Set(got).size).toBe(4);
  });

  test('only the client that the person signed out of, when they stay; its next session is another', async () => {
    const [left, kept] = [await receiverForTest(), await receiverForTest()];
    const [first, second] = [await toldAt(left), await toldAt(kept)];
    const who = await signedInAt(first);
    const staying = await signedInAt(second, who);
    await answerLogoutPage(who, 'logout-stay');
    const { sid } = decodeJwt(await left.next());
    const again = await signedInAt(first, who);
    expect(sid).toBe(decodeJwt(who.tokens.id_token).sid);
    expect(decodeJwt(again.tokens.id_token).sid).not.toBe(sid);
    expect(kept.received).toEqual([]);
    await signOut(who);
    expect(decodeJwt(await kept.next()).sid).toBe(decodeJwt(staying.tokens.id_token).sid);
    expect(decodeJwt(await left.next()).sid).toBe(decodeJwt(again.tokens.id_token).sid);
  });

  test('nobody else: no client without an address, no client of another session', async () => {
    const silent = await registerClient(app);
    const who = await signedInAt(silent);
    const other = await signedInAt(client);
    const before = receiver.received.length;
    await signOut(who);
    const { rows } = await app.database.db.execute(
      sql`select client_id from backchannel_logouts where account_id in (${who.account.sub}, ${other.account.sub})`,
    );
    expect(rows).toEqual([]);
    expect(receiver.received).toHaveLength(before);
    await signOut(other);
    await receiver.next();
  });

  test('not one that was deleted meanwhile, nor one that does not want it any more', async () => {
    const own = await receiverForTest(refusesWith(503));
    const [deleted, changed] = [await toldAt(own), await toldAt(own)];
    for (const each of [deleted, changed]) await signOut(await signedInAt(each));
    await own.next();
    await own.next();
    const bearer = (who: Registration) => ({ authorization: `Bearer ${who.registration_access_token}` });
    await fetch(`${app.origin}/clients/${deleted.client_id}`, { method: 'DELETE', headers: bearer(deleted) });
    expect(await queue(deleted)).toEqual([]);
    await fetch(`${app.origin}/clients/${changed.client_id}`, {
      method: 'PUT',
      headers: { ...bearer(changed), 'content-type': 'application/json' },
      body: JSON.stringify({ client_id: changed.client_id, redirect_uris: [`${app.origin}/callback`] }),
    });
    await letTheTimeCome(changed);
    await soon(async () => expect(await queue(changed)).toEqual([]));
    expect(own.received).toHaveLength(2);
  });
});

describe('a client that cannot be told', () => {
  test('and hangs, holds back neither the person nor another client (SECURITY 37)', async () => {
    const [slow, fast] = [await receiverForTest(), await receiverForTest()];
    const order: string[] = [];
    slow.answer = (res) => void res.on('close', () => order.push('slow was left'));
    fast.answer = (res) => {
      order.push('fast was told');
      accepts(res, res.req);
    };
    const clients = [await toldAt(slow), await toldAt(fast)] as const;
    const who = await signedInAt(clients[0]);
    await signedInAt(clients[1], who);
    expect((await signOut(who)).status).toBe(303);
    order.push('the person was answered');
    await fast.next();
    await slow.next();
    expect(order.toSorted()).toEqual(['fast was told', 'the person was answered']);
    expect(await queue(clients[0])).toEqual([1]);
  });

  test('has few turns at a time, however many wait for it', async () => {
    const [slow, fast] = [await receiverForTest(hangs), await receiverForTest()];
    const [hanging, answering] = [await toldAt(slow), await toldAt(fast)];
    await app.database.db.execute(sql`
      insert into backchannel_logouts (id, client_id, account_id, sid, next_attempt_at)
      select 'many ' || n, ${hanging.client_id}, 'u_many', 's', now() - interval '1 hour' from generate_series(1, 50) n`);
    await signOut(await signedInAt(answering));
    await fast.next();
    expect(slow.received.length).toBeLessThanOrEqual(3);
    await app.database.db.execute(sql`delete from backchannel_logouts where client_id = ${hanging.client_id}`);
  });

  test('is told again later, with a token of its own each time', async () => {
    const own = await receiverForTest(refusesWith(503));
    const told = await toldAt(own);
    await signOut(await signedInAt(told));
    const first = await own.next();
    expect(await queue(told)).toEqual([1]);
    own.answer = accepts;
    await letTheTimeCome(told);
    const second = await verify(await own.next(), told.client_id);
    expect(second.sid).toBe(decodeJwt(first).sid);
    expect(second.jti).not.toBe(decodeJwt(first).jti);
    await soon(async () =>
      expect(await events(told)).toMatchObject([{ event: 'logout.delivered', details: { attempts: 2 } }]),
    );
    expect(await queue(told)).toEqual([]);
    expect(app.log).toContainEqual(
      expect.objectContaining({ client_id: told.client_id, reason: 'answered 503', retry_after: 10 }),
    );
  });

  test.each([
    [400, 3],
    [500, 8],
    [302, 8],
  ])('and answers %i is given up after %i attempts', async (status, attempts) => {
    const own = await receiverForTest((res) => void res.writeHead(status, { location: receiver.uri }).end());
    const told = await toldAt(own);
    const elsewhere = receiver.received.length;
    await signOut(await signedInAt(told));
    await own.next();
    await letTheTimeCome(told, attempts - 2);
    await own.next();
    expect(await queue(told)).toEqual([attempts - 1]);
    await letTheTimeCome(told);
    await own.next();
    await soon(async () =>
      expect(await events(told)).toMatchObject([
        { event: 'logout.given-up', details: { attempts, reason: `answered ${status}` } },
      ]),
    );
    expect(await queue(told)).toEqual([]);
    expect(receiver.received).toHaveLength(elsewhere);
  });

  test('and answers without end costs one short connection (SECURITY 39)', async () => {
    let sent = 0;
    let left = () => {};
    const closed = new Promise<void>((resolve) => {
      left = resolve;
    });
    const own = await receiverForTest((res) => {
      const chunk = Buffer.alloc(64 * 1024);
      const write = () => {
        while (!res.destroyed && res.write(chunk)) sent += chunk.length;
      };
      res.on('drain', write).on('close', left);
      write();
    });
    await signOut(await signedInAt(await toldAt(own)));
    await own.next();
    await closed;
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  test('at a private address is not even connected to (SECURITY 38)', async () => {
    const strict = await startAppForTest();
    const own = await receiverForTest();
    const told = await toldAt(own, {}, strict);
    const who = await signedInPerson(strict);
    const issued = await issueCode(strict, told, who, { scope: 'openid' });
    expect((await redeem(strict, told, issued)).status).toBe(200);
    await who.person.request('/auth/logout', { method: 'POST' });
    await soon(() =>
      expect(strict.log).toContainEqual(
        expect.objectContaining({ client_id: told.client_id, reason: expect.stringContaining('not a public address') }),
      ),
    );
    expect(own.connections).toBe(0);
  });
});

test('nothing of it is in the way of signing in again', async () => {
  const who = await signedInAt(client);
  await answerLogoutPage(who, 'logout-confirm');
  await receiver.next();
  const silent = await who.person.request(authorizationUrl(app, client, { prompt: 'none' }));
  expect(silent.headers.get('location')).toContain('error=login_required');
});

test('the receiver in the documentation believes a token of ours and nothing else', async () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/logout.md'), 'utf8');
  const [, printed = ''] = /^```js\n(.*?)^```$/ms.exec(page) ?? [];
  const port = String(await freePort());
  const told = await toldAt({ uri: `http://127.0.0.1:${port}/` });
  const code = printed.replace('http://localhost:3000', app.origin).replace('4000', port);
  const example = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env: { CLIENT_ID: told.client_id },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void example.kill());
  const send = (body: string) => fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body });
  await soon(async () => expect((await send('logout_token=x')).status).toBe(400));
  const who = await signedInAt(told);
  const notOne = await send(`logout_token=${who.tokens.id_token}`);
  expect(notOne.status).toBe(400);
  await signOut(who);
  const [said] = (await once(example.stdout, 'data')) as [Buffer];
  expect(said.toString()).toBe(`ended: ${decodeJwt(who.tokens.id_token).sid}\n`);
});

/** People's tokens for APIs: what is asked and remembered, and that each is good at its own API alone (SECURITY 45, 48). */
import { sql } from 'drizzle-orm';
import { exportJWK, type GenerateKeyPairResult, generateKeyPair, type JWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApi, updateApi } from '../../src/apis/apis.ts';
import { disallowApi } from '../../src/apis/client-access.ts';
import { setAuthorizationMetadata } from '../../src/clients/authorization-metadata.ts';
import { sha256 } from '../../src/lib/hash.ts';
import {
  allow as allowAt,
  createApiSide,
  createApis,
  introspect,
  invoices,
  photos,
  verifyAt,
} from '../apis/fixture.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { enterCode, pollOnce, registerDevice, startDevice } from '../support/device.ts';
import { readCheckboxes, readText } from '../support/person.ts';
import { allow, type Registration, registerClient } from '../support/relying-party.ts';
import {
  authorizationUrl,
  issueCode,
  issueTokens,
  makeFirstParty,
  type Parameters,
  pkce,
  post,
  redeem,
  refresh,
  type SignedIn,
  signedInPerson,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let invoicesSide: Registration;
let photosSide: Registration;

beforeAll(async () => {
  app = await startApp();
  await createApis(app);
  client = await createApp();
  invoicesSide = await createApiSide(app, invoices);
  photosSide = await createApiSide(app, photos);
});
afterAll(() => app.close());

/** An app that people sign in to, and that may ask for nearly everything at both APIs. */
async function createApp(metadata: Record<string, unknown> = {}): Promise<Registration> {
  const registered = await registerClient(app, metadata);
  await allowAt(app, registered, { [invoices]: ['read'], [photos]: ['read', 'print'] });
  return registered;
}

const atInvoices = { scope: 'openid read', resource: invoices };
const box = { invoices: `read ${invoices}`, photos: `read ${photos}`, print: `print ${photos}` };

/** Both APIs in one request. */
function urlForBoth(changes: Parameters = {}): string {
  const url = authorizationUrl(app, client, { scope: 'openid read print', resource: invoices, ...changes });
  return `${url}&${new URLSearchParams({ resource: photos })}`;
}

describe('a person’s token for an API', () => {
  let signedIn: SignedIn;

  beforeAll(async () => {
    signedIn = await signedInPerson(app);
  });

  test('in JWT form names the person, the API and what was allowed, and says of the client what the operator says', async () => {
    const about = { plan: 'gold' };
    await setAuthorizationMetadata(app.database.db, client.client_id, about);
    const { body } = await redeem(app, client, await issueCode(app, client, signedIn, atInvoices), {
      resource: invoices,
    });
    expect(body).toMatchObject({ scope: 'read', expires_in: 600 });
    const { payload } = await verifyAt(app, invoices, body.access_token);
    expect(payload).toMatchObject({
      sub: signedIn.account.sub,
      client_id: client.client_id,
      aud: invoices,
      scope: 'read',
      'urn:latchkey:client': about,
    });
    const told = await introspect(app, invoicesSide, body.access_token);
    const { 'urn:latchkey:grant': _, ...claims } = payload;
    expect(told).toEqual({ ...claims, active: true, token_type: 'Bearer' });
    expect(await introspect(app, photosSide, body.access_token)).toEqual({ active: false });
  });

  test('in opaque form says the same by introspection, to that API alone', async () => {
    const asked = { scope: 'openid print', resource: photos };
    const { body } = await redeem(app, client, await issueCode(app, client, signedIn, asked), { resource: photos });
    const told = await introspect(app, photosSide, body.access_token);
    expect(told).toMatchObject({ active: true, sub: signedIn.account.sub, aud: photos, scope: 'print' });
    expect(told).toHaveProperty(['urn:latchkey:client', 'plan'], 'gold');
    expect(await introspect(app, invoicesSide, body.access_token)).toEqual({ active: false });
  });

  test('is useless at userinfo, and one for userinfo at every API', async () => {
    for (const asked of [atInvoices, { scope: 'openid print', resource: photos }]) {
      const forApi = await redeem(app, client, await issueCode(app, client, signedIn, asked), {
        resource: asked.resource,
      });
      expect([401, 403]).toContain(await userinfoStatus(app, String(forApi.body.access_token)));
    }
    const { body } = await redeem(app, client, await issueCode(app, client, signedIn, atInvoices));
    expect(body.scope).toBe('openid');
    expect(await userinfoStatus(app, String(body.access_token))).toBe(200);
    await expect(verifyAt(app, invoices, body.access_token)).rejects.toThrow();
    for (const side of [invoicesSide, photosSide])
      expect(await introspect(app, side, body.access_token)).toEqual({ active: false });
  });

  test('is for one API of those that were asked for, as the client says at each refresh', async () => {
    const { verifier, challenge } = pkce();
    const offline = { scope: 'openid read print offline_access', prompt: 'consent', code_challenge: challenge };
    const page = await allow(signedIn.person, await signedIn.person.open(urlForBoth(offline)));
    const code = page.left?.searchParams.get('code') ?? '';
    const issued = { code, verifier, redirectUri: `${app.origin}/callback`, callback: page.left as URL };
    const first = await redeem(app, client, issued, { resource: photos });
    expect(first.body).toMatchObject({ scope: 'print read' });
    expect(await introspect(app, photosSide, first.body.access_token)).toMatchObject({ active: true, aud: photos });
    const second = await refresh(app, client, String(first.body.refresh_token), { resource: invoices });
    expect((await verifyAt(app, invoices, second.body.access_token)).payload.scope).toBe('read');
    const third = await refresh(app, client, String(second.body.refresh_token));
    expect(await userinfoStatus(app, String(third.body.access_token))).toBe(200);
  });

  test('without openid is for the API although only the authorization request named it', async () => {
    const { body } = await redeem(
      app,
      client,
      await issueCode(app, client, signedIn, { ...atInvoices, scope: 'read' }),
    );
    expect(body).not.toHaveProperty('id_token');
    expect((await verifyAt(app, invoices, body.access_token)).payload.sub).toBe(signedIn.account.sub);
  });

  test('ends for introspection with the sign-in, the consent, the client’s access and the account', async () => {
    const endings: [string, (who: SignedIn, app: Registration) => Promise<unknown>][] = [
      ['sign-out', (who) => who.person.request('/auth/logout', { method: 'POST' })],
      [
        'disconnection',
        (who, { client_id }) =>
          who.person.request(`/account/apps/${client_id}/disconnection`, {
            method: 'POST',
            body: new URLSearchParams(),
          }),
      ],
      ['access', (_, { client_id }) => disallowApi(app.database.db, client_id, invoices)],
    ];
    for (const [name, end] of endings) {
      const [who, own] = [await signedInPerson(app), await createApp()];
      const issued = await issueCode(app, own, who, atInvoices);
      const { body } = await redeem(app, own, issued, { resource: invoices });
      for (const asker of [own, invoicesSide])
        expect((await introspect(app, asker, body.access_token)).active, name).toBe(true);
      await end(who, own);
      for (const asker of [own, invoicesSide])
        expect(await introspect(app, asker, body.access_token), name).toEqual({ active: false });
    }
  });

  test('is revoked by its client and by that API’s own side, and by no other', async () => {
    const asked = { scope: 'openid print', resource: photos };
    for (const [who, ends] of [
      [invoicesSide, false],
      [photosSide, true],
      [client, true],
    ] as const) {
      const { body } = await redeem(app, client, await issueCode(app, client, signedIn, asked), { resource: photos });
      expect((await post(app, 'revocation', { token: String(body.access_token) }, who)).status).toBe(200);
      expect((await introspect(app, photosSide, body.access_token)).active).toBe(!ends);
    }
    const { body } = await redeem(app, client, await issueCode(app, client, signedIn, atInvoices), {
      resource: invoices,
    });
    const revoked = await post(app, 'revocation', { token: String(body.access_token) }, client);
    expect([revoked.status, revoked.body.error]).toEqual([400, 'unsupported_token_type']);
  });

  test('has a sub of its own kind for a pairwise client: no client’s id and no other person’s (SECURITY 47)', async () => {
    const own = await createApp({ subject_type: 'pairwise' });
    const { body } = await redeem(app, own, await issueCode(app, own, signedIn, atInvoices), { resource: invoices });
    const { payload } = await verifyAt(app, invoices, body.access_token);
    expect(payload.sub).toMatch(/^p_[\w-]{43}$/);
    expect((await introspect(app, invoicesSide, body.access_token)).sub).toBe(payload.sub);
  });
});

describe('what is asked for', () => {
  let signedIn: SignedIn;
  let signingClient: Registration & { keys: GenerateKeyPairResult; jwk: JWK };

  beforeAll(async () => {
    signedIn = await signedInPerson(app);
    const keys = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k', use: 'sig', alg: 'ES256' };
    signingClient = { ...(await createApp({ jwks: { keys: [jwk] } })), keys, jwk };
  });

  const refused: [string, string, Parameters][] = [
    ['invalid_scope', 'a scope that nobody knows', { scope: 'openid admin' }],
    ['invalid_scope', 'a scope of an API that is not named', { scope: 'openid read' }],
    ['invalid_scope', 'a scope of another API', { scope: 'openid read print', resource: invoices }],
    ['invalid_scope', 'a scope that this client may not ask for', { scope: 'openid read pay', resource: invoices }],
    ['invalid_scope', 'an API without any of its scopes', { scope: 'openid', resource: invoices }],
    ['invalid_target', 'an API that nobody knows', { scope: 'openid read', resource: 'https://nobody.example/' }],
    ['invalid_target', 'an API with a fragment', { scope: 'openid read', resource: `${invoices}#a` }],
  ];

  test.each(refused)('%s: %s, at the authorization endpoint', async (error, _what, parameters) => {
    const location = (await signedIn.person.request(authorizationUrl(app, client, parameters))).headers.get('location');
    const answer = new URL(location ?? '').searchParams;
    expect([answer.get('error'), answer.get('code')]).toEqual([error, null]);
  });

  test.each(refused)('%s: %s, in a pushed request', async (error, _what, parameters) => {
    const { searchParams } = new URL(authorizationUrl(app, client, parameters));
    const { status, body } = await post(app, 'request', Object.fromEntries(searchParams), client);
    expect([status, body.error]).toEqual([400, error]);
  });

  async function sendSigned(parameters: Record<string, unknown>): Promise<string> {
    const { keys, jwk, client_id } = signingClient;
    const request = await new SignJWT(parameters)
      .setProtectedHeader({ alg: 'ES256', kid: jwk.kid ?? '' })
      .setIssuer(client_id)
      .setAudience(app.issuer)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(keys.privateKey);
    const response = await signedIn.person.request(`/oidc/auth?${new URLSearchParams({ client_id, request })}`);
    return response.headers.get('location') ?? '';
  }

  test.each(refused)('%s: %s, in a signed request object', async (error, _what, parameters) => {
    const { searchParams } = new URL(authorizationUrl(app, signingClient, parameters));
    const location = await sendSigned(Object.fromEntries(searchParams));
    expect(new URL(location).searchParams.get('error')).toBe(error);
  });

  test('an empty list of resources in a request object does not make unknown scopes known', async () => {
    const { searchParams } = new URL(authorizationUrl(app, signingClient, { scope: 'openid admin' }));
    const location = await sendSigned({ ...Object.fromEntries(searchParams), resource: [] });
    expect(new URL(location).searchParams.get('error')).toBe('invalid_target');
  });

  test.each(refused)('%s: %s, by a device', async (error, _what, { scope = '', resource = '' }) => {
    const tv = await registerDevice(app);
    await allowAt(app, tv, { [invoices]: ['read'], [photos]: ['read', 'print'] });
    const asked = startDevice(app, tv, { scope, ...(resource && { resource }) });
    await expect(asked).rejects.toThrow(`"error":"${error}"`);
  });

  test('a device gets a token for the API that it asked for, when the person allows it', async () => {
    const tv = await registerDevice(app);
    await allowAt(app, tv, { [photos]: ['read', 'print'] });
    const device = await startDevice(app, tv, { scope: 'print read', resource: photos });
    const { person } = await signedInPerson(app);
    const confirm = await enterCode(person, device.user_code);
    expect(readText(confirm.html)).toContain('Print your photos');
    const consent = await person.submit(confirm, 'device-confirm', {}, 'device-approve');
    await allow(person, consent, [box.print]);
    const { access_token } = await pollOnce(app, tv, device);
    expect(await introspect(app, photosSide, access_token)).toMatchObject({ aud: photos, scope: 'print' });
  });

  test('an API that was not asked for at first is refused, and the refresh token is not used up by it', async () => {
    const offline = { ...atInvoices, scope: 'openid read offline_access', prompt: 'consent' };
    const { refresh_token } = await issueTokens(app, client, signedIn, offline);
    for (const changes of [{ resource: photos }, { resource: 'https://nobody.example/' }]) {
      const { status, body } = await refresh(app, client, refresh_token, changes);
      expect([status, body.error]).toEqual([400, 'invalid_target']);
    }
    for (const changes of [{ scope: 'read pay' }, { scope: 'admin' }, { scope: 'profile', resource: invoices }]) {
      const { status, body } = await refresh(app, client, refresh_token, changes);
      expect([status, body.error]).toEqual([400, 'invalid_scope']);
    }
    const { rows } = await app.database.db.execute(
      sql`select consumed_at from oidc_grants where model = 'RefreshToken' and id = ${sha256(refresh_token)}`,
    );
    expect(rows).toEqual([{ consumed_at: null }]);
    expect((await refresh(app, client, refresh_token, { resource: invoices })).body.scope).toBe('read');
    const issued = await issueCode(app, client, signedIn, atInvoices);
    expect((await redeem(app, client, issued, { resource: photos })).body.error).toBe('invalid_target');
  });

  test('nothing can be had at an API where the person allowed nothing', async () => {
    const own = await createApp();
    const url = authorizationUrl(app, own, {
      ...atInvoices,
      code_challenge: undefined,
      code_challenge_method: undefined,
    });
    const page = await allow(signedIn.person, await signedIn.person.open(url), ['profile']);
    const code = page.left?.searchParams.get('code') ?? '';
    const issued = { code, verifier: undefined, redirectUri: `${app.origin}/callback`, callback: page.left as URL };
    expect((await redeem(app, own, issued, { resource: invoices })).body.error).toBe('invalid_target');
    const silently = authorizationUrl(app, own, { scope: 'read', resource: invoices, prompt: 'none' });
    const location = (await signedIn.person.request(silently)).headers.get('location') ?? '';
    expect(new URL(location).searchParams.get('error')).toBe('access_denied');
  });
});

describe('consent (SECURITY 48)', () => {
  test('names each API and what each scope means there', async () => {
    const { person } = await signedInPerson(app);
    const page = await person.open(urlForBoth());
    expect(readCheckboxes(page.html, 'scope')).toEqual({
      [box.invoices]: true,
      [box.photos]: true,
      [box.print]: true,
    });
    const text = readText(page.html);
    expect(text).toContain('See your invoices Invoices');
    expect(text).toContain('See your photos Photos');
    expect(text).toContain('Print your photos Photos');
  });

  test('is remembered by API, asked again for more, and what was refused is not ticked', async () => {
    const { person } = await signedInPerson(app);
    const ask = async (url: string) => {
      const page = await person.open(url);
      return page.left ? 'no page' : readCheckboxes(page.html, 'scope');
    };
    const page = await person.open(urlForBoth());
    expect((await allow(person, page, [box.invoices, box.print])).left?.searchParams.get('code')).toBeTruthy();
    expect(await ask(urlForBoth())).toBe('no page');
    expect(await ask(urlForBoth({ scope: 'openid read print profile' }))).toEqual({
      profile: true,
      [box.invoices]: true,
      [box.photos]: false,
      [box.print]: true,
    });
    const silent = authorizationUrl(app, client, { ...atInvoices, prompt: 'none' });
    expect((await person.open(silent)).left?.searchParams.get('code')).toBeTruthy();
    const wider = urlForBoth({ scope: 'openid read print email', prompt: 'none' });
    expect((await person.open(wider)).left?.searchParams.get('error')).toBe('consent_required');
    const text = readText((await person.open('/account/apps')).html);
    expect(text).toContain('See your invoices (Invoices) · Print your photos (Photos)');
    expect(text).not.toContain('See your photos');
  });

  test('of one person is not another’s, and boxes that were not on the page allow nothing', async () => {
    const { person } = await signedInPerson(app);
    const url = authorizationUrl(app, client, { ...atInvoices, scope: 'openid read profile' });
    const page = await person.open(url);
    expect(page.left).toBeUndefined();
    await allow(person, page, ['read', `pay ${invoices}`, box.photos, box.print, 'openid']);
    const again = await person.open(authorizationUrl(app, client, { ...atInvoices, prompt: 'consent' }));
    expect(readCheckboxes(again.html, 'scope')).toEqual({ [box.invoices]: false });
    const other = await person.open(authorizationUrl(app, client, { scope: 'openid print', resource: photos }));
    expect(other.left).toBeUndefined();
  });

  test('is not asked for by the operator’s own app, which gets only what it may ask for', async () => {
    const own = await createApp();
    await makeFirstParty(app, own);
    const signedIn = await signedInPerson(app);
    for (const { resource, scope } of [atInvoices, { scope: 'openid print', resource: photos }]) {
      const page = await signedIn.person.open(authorizationUrl(app, own, { resource, scope }));
      expect(page.left?.searchParams.get('code')).toBeTruthy();
    }
    const { body } = await redeem(app, own, await issueCode(app, own, signedIn, atInvoices), { resource: invoices });
    expect((await verifyAt(app, invoices, body.access_token)).payload.scope).toBe('read');
    const more = await signedIn.person.open(authorizationUrl(app, own, { scope: 'openid pay', resource: invoices }));
    expect(more.left?.searchParams.get('error')).toBe('invalid_scope');
  });
});

test('where any client may ask, a person decides about a client that nobody allowed anything; for itself it gets nothing', async () => {
  const notes = 'https://mcp.example/notes';
  await createApi(app.database.db, {
    identifier: notes,
    name: 'Notes',
    scopes: { read: 'Read your notes' },
    anyClient: true,
  });
  const stranger = await registerClient(app, { grant_types: ['authorization_code', 'client_credentials'] });
  const person = await signedInPerson(app);
  const issued = await issueCode(app, stranger, person, { scope: 'openid read', resource: notes });
  const { body } = await redeem(app, stranger, issued, { resource: notes });
  expect((await verifyAt(app, notes, body.access_token)).payload).toMatchObject({
    sub: person.account.sub,
    scope: 'read',
  });
  expect(await introspect(app, stranger, body.access_token)).toMatchObject({ active: true });

  const alone = await post(app, 'token', { grant_type: 'client_credentials', resource: notes }, stranger);
  expect(alone).toMatchObject({ status: 400, body: { error: 'invalid_target' } });

  await updateApi(app.database.db, notes, { anyClient: false });
  expect(await introspect(app, stranger, body.access_token)).toEqual({ active: false });
});

/** The edge example as an API, and as a process: what it makes of access tokens, of keys that change, and of its own end. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createCopy } from '../../examples/edge/copy.ts';
import { register } from '../../examples/edge/register.ts';
import { generateKey } from '../../src/keys/key-pairs.ts';
import { rotateKeys } from '../../src/keys/key-ring.ts';
import { allow, askForToken, createService } from '../apis/fixture.ts';
import { launchExample } from '../support/example.ts';
import { freePort } from '../support/listen.ts';
import { askWith, type Edge, encryptionOf, makeToken, startEdge, tidesApi } from './edge-fixture.ts';

let edge: Edge;
beforeAll(async () => {
  edge = await startEdge();
});
afterAll(() => edge.close());

const now = Math.floor(Date.now() / 1000);

describe('a program with an access token', () => {
  test('is served without the provider being asked, also while that is stopped', async () => {
    const service = await createService(edge.app);
    await allow(edge.app, service, { [tidesApi]: ['tides:read'] });
    const { body } = await askForToken(edge.app, service, { resource: tidesApi, scope: 'tides:read' });
    const answer = await askWith(edge, String(body.access_token));
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ tides: [{ metres: expect.any(Number) }, {}, {}, {}] });
    await edge.relay.whileStopped(async () => {
      expect((await askWith(edge, String(body.access_token))).status).toBe(200);
    });
    const refused = await askWith(edge, String(body.access_token), { method: 'POST' });
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
      403,
      'Bearer realm="tidewater", error="insufficient_scope", error_description="This needs the scope tides:report.", scope="tides:report"',
    ]);
  });

  test.each([
    ['expired', { exp: now - 60 }, {}],
    ['without an end', { exp: undefined }, {}],
    ['for another API', { aud: 'https://other.example' }, {}],
    ['for nobody', { aud: undefined }, {}],
    ['of another issuer', { iss: 'https://elsewhere.example/oidc' }, {}],
    ['not for use yet', { nbf: now + 3600 }, {}],
    ['without a subject', { sub: undefined }, {}],
    ['of another type, such as an ID token', {}, { typ: 'JWT' }],
    ['bound to a key', { cnf: { jkt: 'x' } }, {}],
  ])('is refused with one that is %s', async (_what, claims, header) => {
    const answer = await askWith(edge, await makeToken(edge, claims, header));
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"');
    expect(await answer.json()).toMatchObject({ error: 'invalid_token' });
  });

  test('is refused with one that somebody else signed, or nobody, and with none', async () => {
    const good = await makeToken(edge);
    const stranger = await generateKey('ES256');
    const forged = await makeToken({ ...edge, key: { ...stranger, kid: edge.key.kid } });
    const unsigned = `${Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt' })).toString('base64url')}.${good.split('.')[1]}.`;
    for (const token of [forged, unsigned, 'x', good.slice(0, -4)])
      expect((await askWith(edge, token)).status).toBe(401);
    const none = await fetch(`${edge.origin}/resource/tides`);
    expect([none.status, none.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="tidewater"']);
    const basic = await fetch(`${edge.origin}/resource/tides`, { headers: { authorization: 'Basic YTpi' } });
    expect(basic.status).toBe(401);
    expect((await askWith(edge, good)).status).toBe(200);
  });

  test('reports without Origin, and what makes no sense is answered 400', async () => {
    const token = await makeToken(edge);
    const send = (body: URLSearchParams | string) => askWith(edge, token, { method: 'POST', body });
    expect((await send(new URLSearchParams({ metres: '2.5' }))).status).toBe(201);
    for (const body of [
      new URLSearchParams({ metres: 'deep' }),
      new URLSearchParams({ metres: '-1' }),
      new URLSearchParams(),
      '{',
    ])
      expect((await send(body)).status).toBe(400);
    expect(
      (await fetch(`${edge.origin}/resource/other`, { headers: { authorization: `Bearer ${token}` } })).status,
    ).toBe(404);
  });
});

test('a key that was not there before is asked for once, and strangers who make up keys make nobody ask', async () => {
  const { app, relay } = edge;
  expect((await askWith(edge, await makeToken(edge))).status).toBe(200);
  const service = await createService(app, { [tidesApi]: ['tides:read'] });
  for (let round = 0; round < 2; round += 1) {
    await rotateKeys(app.database.db, encryptionOf(app), ['ES256'], { force: true });
    await app.app.reload();
  }
  const { body } = await askForToken(app, service, { resource: tidesApi, scope: 'tides:read' });
  const before = relay.count('/oidc/jwks');
  expect((await askWith(edge, String(body.access_token))).status).toBe(200);
  expect(relay.count('/oidc/jwks')).toBe(before + 1);
  const strangers = Array.from({ length: 20 }, async (_, number) => {
    return (await askWith(edge, await makeToken(edge, {}, { kid: `made-up-${number}` }))).status;
  });
  expect(new Set(await Promise.all(strangers))).toEqual(new Set([401]));
  expect(relay.count('/oidc/jwks')).toBe(before + 1);
  expect((await askWith(edge, await makeToken(edge))).status, 'what a retired key signed').toBe(200);
});

describe('a copy of what the provider published', () => {
  let time = 0;
  let asked = 0;
  const away = () => Promise.reject(new Error('away'));
  const load = async () => ++asked;
  const copy = () => {
    [time, asked] = [0, 0];
    return createCopy<number>({ freshMs: 300_000, usableMs: 900_000, now: () => time });
  };

  test('is asked for anew when it is five minutes old, and lasts ten more while nobody answers', async () => {
    const keys = copy();
    expect([await keys.get(load), await keys.get(load)]).toEqual([1, 1]);
    time = 300_000;
    expect(await keys.get(away)).toBe(1);
    time = 899_999;
    expect(await keys.get(away)).toBe(1);
    time = 910_000;
    await expect(keys.get(away)).rejects.toThrow('away');
    time = 920_000;
    expect(await keys.get(load)).toBe(2);
  });

  test('leaves a provider that failed alone for two seconds', async () => {
    const keys = copy();
    await expect(keys.get(away)).rejects.toThrow('away');
    time = 1_999;
    await expect(keys.get(load)).rejects.toThrow('away');
    time = 2_000;
    expect(await keys.get(load)).toBe(1);
  });

  test('is renewed for what it lacks once in half a minute', async () => {
    const keys = copy();
    await keys.get(load);
    expect([await keys.renew(load), await keys.renew(load)]).toEqual([2, undefined]);
    time = 30_000;
    expect([await keys.renew(load), await keys.get(load)]).toEqual([3, 3]);
  });
});

describe('the process', () => {
  test('registers itself once, keeps what it was told for its owner only, and mends what changed', async () => {
    const { app } = edge;
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-edge-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, 'registration.json');
    const first = await register(app.issuer, 'http://localhost:1', file);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await register(app.issuer, 'http://localhost:1', file)).toEqual(first);
    expect((await register(app.issuer, 'http://localhost:2', file)).client_id).toBe(first.client_id);
    const authorization = { authorization: `Bearer ${first.registration_access_token}` };
    const registered = await fetch(first.registration_client_uri, { headers: authorization });
    expect(await registered.json()).toMatchObject({
      redirect_uris: ['http://localhost:2/callback'],
      post_logout_redirect_uris: ['http://localhost:2/'],
    });
    await fetch(first.registration_client_uri, { method: 'DELETE', headers: authorization });
    expect((await register(app.issuer, 'http://localhost:2', file)).client_id).not.toBe(first.client_id);
  });

  test('says which provider it misses, and ends', async () => {
    const issuer = `http://127.0.0.1:${await freePort()}/oidc`;
    const running = launchExample('edge', { ISSUER: issuer, PORT: String(await freePort()) });
    expect(await running.ended).toEqual({ code: 1, signal: null });
    expect(running.stderr()).toContain(
      `There is no provider at ${issuer}. Start one in another terminal with: npm start`,
    );
  });

  test('says that what answers is not the issuer it was told, and ends', async () => {
    const issuer = `${edge.app.origin}/elsewhere`;
    const running = launchExample('edge', { ISSUER: issuer, PORT: String(await freePort()) });
    expect(await running.ended).toEqual({ code: 1, signal: null });
    expect(running.stderr()).toBe(`${issuer} answers, but is not that issuer. Is ISSUER right?\n`);
  });

  test('ends at once with all that it started when it is told to', async () => {
    const { app } = edge;
    const port = String(await freePort());
    const client = { CLIENT_ID: 'c_registered', CLIENT_SECRET: 'by the operator' };
    const running = launchExample('edge', { ISSUER: app.issuer, PORT: port, ...client });
    await running.printed('Tidewater is ready.');
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
    const login = await fetch(`http://localhost:${port}/login`, { redirect: 'manual' });
    expect([login.status, await login.json()]).toMatchObject([
      502,
      { error_description: expect.stringContaining('invalid_client') },
    ]);
    const second = launchExample('edge', { ISSUER: app.issuer, PORT: port, ...client });
    expect(await second.ended).toEqual({ code: 1, signal: null });
    expect(second.stderr()).toBe(`Port ${port} is taken. Stop what listens there, or set another PORT.\n`);
    expect(await running.stop()).toEqual({ code: 0, signal: null });
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  });
});

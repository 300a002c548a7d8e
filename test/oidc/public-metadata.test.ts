import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEncryption } from '../../src/keys/encryption.ts';
import { jwksMaxAgeSeconds } from '../../src/keys/key-lifetimes.ts';
import { rotateKeys } from '../../src/keys/key-ring.ts';
import { createPublicMetadata } from '../../src/oidc/public-metadata.ts';
import { startApp, type TestApp } from '../support/app.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startApp();
});
afterAll(() => app.close());

const at = (path: string, init?: RequestInit) => fetch(app.origin + path, init);

describe.each(['/oidc/jwks', '/oidc/.well-known/openid-configuration', '/.well-known/oauth-authorization-server/oidc'])(
  '%s',
  (path) => {
    test('may be kept by anybody for some minutes, scripts of any origin included', async () => {
      const response = await at(path, { headers: { origin: 'https://spa.example' } });
      expect(response.headers.get('cache-control')).toBe(`public, max-age=${jwksMaxAgeSeconds}`);
      expect(response.headers.get('etag')).toMatch(/^"[\w-]+"$/);
      expect(response.headers.get('vary')).toMatch(/origin/i);
      expect(['*', 'https://spa.example']).toContain(response.headers.get('access-control-allow-origin'));
      expect(response.headers.getSetCookie()).toEqual([]);
    });

    test('asked for again by its tag, it is not sent again', async () => {
      const etag = (await at(path)).headers.get('etag') ?? '';
      for (const tags of [etag, `"other", ${etag}`, `W/${etag}`, '*']) {
        const again = await at(path, { headers: { 'if-none-match': tags, origin: 'https://spa.example' } });
        expect([again.status, await again.text()]).toEqual([304, '']);
        expect(again.headers.get('etag')).toBe(etag);
        expect(again.headers.get('cache-control')).toContain('max-age');
        expect(again.headers.get('access-control-allow-origin')).not.toBeNull();
      }
      expect((await at(path, { headers: { 'if-none-match': '"other"' } })).status).toBe(200);
    });

    test('HEAD tells the same without the text', async () => {
      const [get, head] = [await at(path), await at(path, { method: 'HEAD' })];
      expect([head.status, await head.text()]).toEqual([200, '']);
      for (const name of ['etag', 'cache-control', 'content-type', 'content-length'])
        expect(head.headers.get(name), name).toBe(get.headers.get(name));
    });
  },
);

test('the tag of the keys follows the keys', async () => {
  const before = await at('/oidc/jwks');
  const encryption = createEncryption([Buffer.from(app.env.OIDC_ENCRYPTION_KEY ?? '', 'base64')]);
  await rotateKeys(app.database.db, encryption, ['ES256'], { force: true });
  await app.app.reload();
  const etag = before.headers.get('etag') ?? '';
  const changed = await at('/oidc/jwks', { headers: { 'if-none-match': etag } });
  expect([changed.status, changed.headers.get('etag') !== etag]).toEqual([200, true]);
});

test('an answer is kept here for its own address only: strangers can spell it in ways without end', async () => {
  const metadata = createPublicMetadata();
  const ask = (originalUrl: string, headers: Record<string, string> = {}) => {
    const get = (name: string) => headers[name] ?? '';
    const ctx = {
      path: '/jwks',
      status: 200,
      body: { keys: [] },
      req: { originalUrl },
      get,
      set() {},
      response: { get },
    };
    return metadata.middleware(ctx as never, async () => {});
  };
  for (const spelling of ['http://a.example/oidc/jwks', '/OIDC/jwks', '/oidc/jwks?x=y']) await ask(spelling);
  await ask('/oidc/jwks', { Origin: 'https://spa.example' });
  expect(metadata.kept('/jwks')).toBeUndefined();
  await ask('/oidc/jwks');
  expect(metadata.kept('/jwks')?.body.toString()).toBe('{"keys":[]}');
});

test('no other answer below the mount may be kept, errors at these addresses included', async () => {
  for (const path of ['/oidc/userinfo', '/oidc/auth', '/oidc/nothing-here', '/oidc/.well-known/nothing-here']) {
    const { headers, status } = await at(path);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(headers.get('cache-control') ?? '', path).not.toContain('max-age');
    expect(headers.get('etag'), path).toBeNull();
  }
});

test('the key set holds public parts only, each with a kid of its own, in the same order every time', async () => {
  const { keys } = (await (await at('/oidc/jwks')).json()) as { keys: Record<string, unknown>[] };
  const members = new Set(keys.flatMap(Object.keys));
  for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']) expect(members).not.toContain(secret);
  expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length);
  expect(new Set(keys.map(({ kty, use }) => `${kty} ${use}`))).toEqual(new Set(['RSA sig', 'EC sig', 'OKP sig']));
  await app.app.reload();
  expect(await (await at('/oidc/jwks')).json()).toEqual({ keys });
});

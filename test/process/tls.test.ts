/** Without a proxy the server speaks https itself (CONTRACT: TLS_CERT_FILE, TLS_KEY_FILE). */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, fetch } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { tlsCertificate, tlsKey } from '../support/certificate.ts';
import { createTestDatabase } from '../support/database.ts';
import { freePort } from '../support/listen.ts';
import { sharedSecrets, startServer } from '../support/server.ts';

test('https with a certificate of one’s own: discovery, and a cookie that only https carries', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-tls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [TLS_CERT_FILE, TLS_KEY_FILE] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await Promise.all([writeFile(TLS_CERT_FILE, tlsCertificate()), writeFile(TLS_KEY_FILE, tlsKey())]);
  const database = await createTestDatabase();
  onTestFinished(database.drop);
  const port = await freePort();
  const server = await startServer({
    port,
    env: { ...sharedSecrets, DATABASE_URL: database.url, OIDC_ISSUER: undefined, TLS_CERT_FILE, TLS_KEY_FILE },
  });
  onTestFinished(async () => void (await server.stop()));

  const dispatcher = new Agent({ connect: { ca: tlsCertificate() } });
  onTestFinished(() => dispatcher.close());
  const origin = `https://localhost:${port}`;
  const discovery = await fetch(`${origin}/oidc/.well-known/openid-configuration`, { dispatcher });
  expect(await discovery.json()).toMatchObject({ issuer: `${origin}/oidc`, token_endpoint: `${origin}/oidc/token` });

  const registered = await fetch(`${origin}/auth/register`, {
    dispatcher,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'ada@moreno.example', password: 'correct horse battery', name: 'Ada' }),
  });
  expect(registered.status).toBe(201);
  const cookies = registered.headers.getSetCookie().filter((cookie) => cookie.includes('session'));
  expect(cookies).toHaveLength(2);
  for (const cookie of cookies) expect(cookie).toMatch(/^__Host-latchkey_session.*; secure; /);
});

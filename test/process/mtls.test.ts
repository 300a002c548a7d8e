/** Where TLS ends in this server, a second port asks clients for a certificate (CONTRACT: MTLS_PORT, MTLS_CA_FILE). */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { Agent, fetch, type RequestInit } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { tlsCertificate, tlsKey } from '../support/certificate.ts';
import { createTestDatabase } from '../support/database.ts';
import { freePort } from '../support/listen.ts';
import { sharedSecrets, startServer } from '../support/server.ts';
import { createCertificate, type Holder, privateKeyPem } from '../support/x509.ts';

test('a client signs in with its certificate at the second port, and its token works with it alone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-mtls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = (name: string) => join(folder, name);
  const authority = createCertificate({ subject: [['O', 'Authority']], ca: true });
  const holder = createCertificate({ subject: [['CN', 'service']], issuer: authority });
  const stranger = createCertificate({ subject: [['CN', 'service']] });
  await Promise.all([
    writeFile(file('cert.pem'), tlsCertificate()),
    writeFile(file('key.pem'), tlsKey()),
    writeFile(file('authorities.pem'), authority.pem),
  ]);
  const database = await createTestDatabase();
  onTestFinished(database.drop);
  const [port, mtlsPort] = [await freePort(), await freePort()];
  const server = await startServer({
    port,
    env: {
      ...sharedSecrets,
      DATABASE_URL: database.url,
      OIDC_ISSUER: undefined,
      TLS_CERT_FILE: file('cert.pem'),
      TLS_KEY_FILE: file('key.pem'),
      MTLS_PORT: String(mtlsPort),
      MTLS_CA_FILE: file('authorities.pem'),
    },
  });
  onTestFinished(async () => void (await server.stop()));

  const agent = (certificate?: Holder) => {
    const own = certificate && { cert: certificate.pem, key: privateKeyPem(certificate) };
    const dispatcher = new Agent({ connect: { ca: tlsCertificate(), ...own } });
    onTestFinished(() => dispatcher.close());
    return dispatcher;
  };
  const agents = { none: agent(), holder: agent(holder), stranger: agent(stranger) };
  const send = async (url: string, by: keyof typeof agents, options: RequestInit = {}) => {
    const response = await fetch(url, { ...options, dispatcher: agents[by] });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const form = (parameters: Record<string, string>) => ({ method: 'POST', body: new URLSearchParams(parameters) });

  const issuer = `https://localhost:${port}/oidc`;
  const { body: metadata } = await send(`${issuer}/.well-known/openid-configuration`, 'none');
  const there = metadata.mtls_endpoint_aliases as Record<string, string>;
  expect(there.token_endpoint).toBe(`https://localhost:${mtlsPort}/oidc/token`);

  const { body: client } = await send(`https://localhost:${port}/clients`, 'none', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=service',
      tls_client_certificate_bound_access_tokens: true,
    }),
  });
  const parameters = { grant_type: 'client_credentials', client_id: String(client.client_id) };
  const ask = (url: unknown, by: keyof typeof agents) => send(String(url), by, form(parameters));
  expect((await ask(there.token_endpoint, 'none')).body.error).toBe('invalid_client');
  expect((await ask(there.token_endpoint, 'stranger')).body.error).toBe('invalid_client');
  // The port for browsers asks nobody, so no browser asks its person which certificate to show.
  expect((await ask(metadata.token_endpoint, 'holder')).body.error).toBe('invalid_client');
  const granted = await ask(there.token_endpoint, 'holder');
  expect(granted.status).toBe(200);

  const introspection = { client_id: String(client.client_id), token: String(granted.body.access_token) };
  const facts = await send(String(there.introspection_endpoint), 'holder', form(introspection));
  expect(facts.body).toMatchObject({ active: true, cnf: { 'x5t#S256': expect.any(String) } });
  expect((await send(`https://localhost:${mtlsPort}/auth/login`, 'holder')).status).toBe(404);

  // RFC 9325 §4.2: of TLS 1.2 only what is forward secret and authenticated.
  const refused = new Promise((resolve) => {
    const options = { port, host: 'localhost', ca: tlsCertificate(), maxVersion: 'TLSv1.2' as const };
    connect({ ...options, ciphers: 'ECDHE-ECDSA-AES128-SHA256' }, () => resolve(undefined)).on('error', resolve);
  });
  expect(await refused).toBeInstanceOf(Error);
});

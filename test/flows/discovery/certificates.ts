/** Mutual TLS (RFC 8705), with certificates that a trusted proxy hands on; and where its endpoints are. */
import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { expectTokens } from '../../conformance/expectations.ts';
import { type Client, post, send } from '../../conformance/http.ts';
import { tlsCertificate } from '../../support/certificate.ts';
import { deviceGrant } from './grants.ts';
import { expectJson, type Members, type World } from './world.ts';

const header = 'client-cert';
const aliasOrigin = 'https://mtls.example';

/** It signed itself and may issue others, so it stands for a client and for an authority. */
const certificate = new X509Certificate(tlsCertificate());

/** Settings for a server behind a proxy that asks for certificates, and how to clear up. */
export async function mutualTls(): Promise<{ env: Record<string, string>; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-authorities-'));
  const file = join(folder, 'authorities.pem');
  await writeFile(file, certificate.toString());
  return {
    env: { TRUST_PROXY: '127.0.0.1', MTLS_CERT_HEADER: header, MTLS_CA_FILE: file, MTLS_ORIGIN: aliasOrigin },
    remove: () => rm(folder, { recursive: true }),
  };
}

/** As RFC 9440 writes it. */
function presented(): Record<string, string> {
  return { [header]: `:${certificate.raw.toString('base64')}:` };
}

function authenticate({ client_id }: Client): NonNullable<Client['authenticate']> {
  return ({ headers, body }) => {
    body.set('client_id', client_id);
    for (const [name, value] of Object.entries(presented())) headers.set(name, value);
  };
}

export async function selfSignedClient(world: World): Promise<Client> {
  const key = createPublicKey(certificate.publicKey.export({ type: 'spki', format: 'pem' })).export({ format: 'jwk' });
  const client = await world.once('self-signed client', () =>
    world.register({
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [{ ...key, kid: 'certificate', x5c: [certificate.raw.toString('base64')] }] },
    }),
  );
  return { ...client, authenticate: authenticate(client) };
}

export async function issuedClient(world: World): Promise<Client> {
  const client = await world.once('client of the authority', () =>
    world.register({
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'localhost',
      grant_types: ['authorization_code', deviceGrant],
    }),
  );
  return { ...client, authenticate: authenticate(client) };
}

export const certificates: Members = {
  tls_client_certificate_bound_access_tokens: async (world, supported) => {
    expect(supported).toBe(true);
    const client = await world.register({ tls_client_certificate_bound_access_tokens: true });
    const { tokens } = await world.signIn({}, client, presented());
    expectJson(await world.userinfo(tokens.access_token, presented()));
    expect((await world.userinfo(tokens.access_token)).status).toBe(401);
    const thumbprint = createHash('sha256').update(certificate.raw).digest('base64url');
    const told = expectJson(await world.introspect(tokens.access_token, client));
    expect(told).toMatchObject({ active: true, cnf: { 'x5t#S256': thumbprint } });
  },
  mtls_endpoint_aliases: async (world, aliases: Record<string, string>) => {
    const client = await issuedClient(world);
    const through = (name: string) => {
      expect(aliases[name]).toMatch(new RegExp(`^${aliasOrigin}/oidc/`));
      return (aliases[name] ?? '').replace(aliasOrigin, `http://127.0.0.1:${world.app.port}`);
    };
    const ask = (name: string, parameters: Record<string, string>) => post(through(name), parameters, client);

    const request = world.request({}, client);
    const pushed = expectJson(await ask('pushed_authorization_request_endpoint', request.parameters), 201);
    const parameters = { client_id: client.client_id, request_uri: String(pushed.request_uri) };
    const { response } = await world.authorize(parameters);
    const code = {
      grant_type: 'authorization_code',
      code: response?.code ?? '',
      code_verifier: request.verifier ?? '',
    };
    const redirect = { redirect_uri: request.parameters.redirect_uri ?? '' };
    const { access_token: token } = expectTokens(await ask('token_endpoint', { ...code, ...redirect }));
    expectJson(
      await send(through('userinfo_endpoint'), { headers: { authorization: `Bearer ${token}`, ...presented() } }),
    );
    expect(expectJson(await ask('introspection_endpoint', { token }))).toMatchObject({ active: true });
    expect((await ask('revocation_endpoint', { token })).status).toBe(200);
    expect(expectJson(await ask('introspection_endpoint', { token }))).toEqual({ active: false });
    const device = expectJson(await ask('device_authorization_endpoint', { scope: 'openid' }));
    expect(device.device_code).toEqual(expect.any(String));
    const covered = ['pushed_authorization_request', 'token', 'userinfo', 'introspection', 'revocation'];
    const names = [...covered, 'device_authorization'].map((name) => `${name}_endpoint`);
    expect(Object.keys(aliases).sort()).toEqual(names.sort());
  },
};

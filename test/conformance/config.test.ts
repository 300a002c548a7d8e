/** OpenID Foundation, `oidcc-config-certification-test-plan`: one module, which wants https everywhere. */
import { expect, test } from 'vitest';
import { startAppForTest } from '../support/app.ts';
import { readKeys } from './expectations.ts';
import { send } from './http.ts';
import { providerMetadata } from './metadata.ts';

test('oidcc-discovery-endpoint-verification: the metadata is complete, well-formed, https, and nothing unexpected is in it', async () => {
  const optional = {
    CLIENT_ID_METADATA_DOCUMENTS: 'on',
    TRUST_PROXY: 'loopback',
    MTLS_CERT_HEADER: 'client-cert',
    MTLS_ORIGIN: 'https://mtls.id.example',
  };
  const app = await startAppForTest({ env: { OIDC_ISSUER: 'https://id.example', ...optional } });
  // As a proxy that ends TLS in front of it would ask.
  const through = (address: string) => send(address.replace('https://id.example', `http://127.0.0.1:${app.port}`));

  const answer = await through('https://id.example/oidc/.well-known/openid-configuration');
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  const metadata = providerMetadata.parse(answer.json);
  expect(metadata.issuer).toBe('https://id.example/oidc');
  for (const [name, value] of Object.entries(metadata)) {
    if (/_(endpoint|uri)$/.test(name)) expect(value, name).toMatch(/^https:\/\/id\.example\/oidc\//);
  }

  const { keys } = await readKeys({ metadata }, through);
  const advertised = metadata.id_token_signing_alg_values_supported;
  const verifies = (key: (typeof keys)[number], alg: string) =>
    key.kty === keyTypeOf(alg) && (key.alg === undefined || key.alg === alg);
  for (const key of keys) {
    expect(key.use).toBe('sig');
    expect(advertised.filter((alg) => verifies(key, alg))).not.toEqual([]);
  }
  for (const alg of advertised)
    expect(
      keys.filter((key) => verifies(key, alg)),
      alg,
    ).not.toEqual([]);

  const twin = await through('https://id.example/.well-known/oauth-authorization-server/oidc');
  expect(twin.json).toEqual(answer.json);
});

/** RFC 7518 §3.1 and RFC 8037 §3.1. */
function keyTypeOf(alg: string): string {
  return /^[RP]S/.test(alg) ? 'RSA' : alg.startsWith('ES') ? 'EC' : 'OKP';
}

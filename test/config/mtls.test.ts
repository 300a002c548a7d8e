/** Where client certificates come from: a port of this server's own, or proxies known by address. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Config, ConfigError, readConfig } from '../../src/config.ts';
import { tlsCertificate, tlsKey } from '../support/certificate.ts';
import { createCertificate } from '../support/x509.ts';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-config-mtls-'));
afterAll(() => rmSync(folder, { recursive: true }));

const authority = createCertificate({ subject: [['O', 'Authority']], ca: true });
const tls = { TLS_CERT_FILE: file('cert.pem', tlsCertificate()), TLS_KEY_FILE: file('key.pem', tlsKey()) };
const MTLS_CA_FILE = file('authorities.pem', `two of them:\n${authority.pem}${authority.pem}`);

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function read(env: Record<string, string>): Config {
  const secrets = {
    OIDC_COOKIE_SECRET: 'c'.repeat(32),
    OIDC_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  };
  return readConfig({ DATA_DIR: folder, ...secrets, ...env });
}

function problems(env: Record<string, string>): readonly string[] {
  try {
    read(env);
    return [];
  } catch (error) {
    return error instanceof ConfigError ? error.problems : [String(error)];
  }
}

describe('what is announced', () => {
  test('nothing, unless asked for', () => {
    expect(read(tls).mtls).toBeUndefined();
  });

  test('the issuer’s host with the second port', () => {
    const { mtls } = read({ ...tls, OIDC_ISSUER: 'https://id.example.com', MTLS_PORT: '3443', MTLS_CA_FILE });
    expect(mtls).toMatchObject({ port: 3443, certHeader: undefined, origin: 'https://id.example.com:3443' });
    expect(mtls?.authorities).toHaveLength(2);
  });

  test('another origin, when there is one', () => {
    const MTLS_ORIGIN = 'https://mtls.example.com';
    expect(read({ ...tls, MTLS_PORT: '3443', MTLS_ORIGIN }).mtls?.origin).toBe(MTLS_ORIGIN);
  });

  test('no other origin, when a proxy asks for certificates at the issuer’s own', () => {
    const { mtls } = read({ TRUST_PROXY: '10.0.0.0/8', MTLS_CERT_HEADER: 'X-Client-Cert' });
    expect(mtls).toEqual({ port: undefined, certHeader: 'x-client-cert', origin: undefined, authorities: [] });
  });
});

describe('what does not go together', () => {
  const proxy = { TRUST_PROXY: 'loopback', MTLS_CERT_HEADER: 'x-client-cert' };
  const rows: [string, Record<string, string>, RegExp][] = [
    ['a port without TLS', { MTLS_PORT: '3443' }, /^MTLS_PORT: expected together with TLS_CERT_FILE/],
    ['the port for browsers', { ...tls, PORT: '3443', MTLS_PORT: '3443' }, /^MTLS_PORT: expected another port/],
    [
      'a header without proxies',
      { MTLS_CERT_HEADER: 'x-client-cert' },
      /^MTLS_CERT_HEADER: expected together with TRUST_PROXY/,
    ],
    [
      'a header from whoever stands at a hop',
      { ...proxy, TRUST_PROXY: '1' },
      /^MTLS_CERT_HEADER: expected together with TRUST_PROXY/,
    ],
    [
      'authorities for nothing',
      { MTLS_CA_FILE },
      /^MTLS_CA_FILE: expected together with MTLS_PORT or MTLS_CERT_HEADER/,
    ],
    [
      'an origin for nothing',
      { MTLS_ORIGIN: 'https://mtls.example.com' },
      /^MTLS_ORIGIN: expected together with MTLS_PORT or/,
    ],
    ['an origin without TLS', { ...proxy, MTLS_ORIGIN: 'http://mtls.example.com' }, /^MTLS_ORIGIN: expected an https/],
    [
      'an authority that may not issue',
      { ...proxy, MTLS_CA_FILE: file('client.pem', createCertificate({ subject: [['O', 'x']] }).pem) },
      /^MTLS_CA_FILE: expected .*CA:TRUE/,
    ],
  ];
  test.each(rows)('%s', (_what, env, problem) => {
    expect(problems(env)).toEqual([expect.stringMatching(problem)]);
  });
});

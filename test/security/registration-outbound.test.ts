/** Addresses that a client names, over https and from a server that the operator permits: each costs one bounded request. */
import type { RequestListener } from 'node:http';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { throttles } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { tlsCertificate, tlsKey } from '../support/certificate.ts';
import { type Documents, startDocuments } from '../support/documents.ts';
import { registerClient } from '../support/relying-party.ts';
import { authorizationUrl } from './protocol.ts';

const authorities = getCACertificates('default');
let app: TestApp;
let theirs: Documents;
let inside: Documents;

beforeAll(async () => {
  setDefaultCACertificates([...authorities, tlsCertificate()]);
  const tls = { cert: tlsCertificate(), key: tlsKey() };
  theirs = await startDocuments({ tls });
  for (const [path, listener] of Object.entries(unfriendly)) theirs.answer(path, listener);
  inside = await startDocuments();
  const env = { NODE_ENV: 'production', CLIENT_REGISTRATION: 'open', CLIENT_ID_METADATA_DOCUMENTS: 'on' };
  app = await startApp({ env: { ...env, OUTBOUND_ALLOW: 'localhost' } });
});
beforeEach(async () => {
  await app.database.db.delete(throttles);
});
afterAll(async () => {
  await app.close();
  await theirs.close();
  await inside.close();
  setDefaultCACertificates(authorities);
});

const redirect_uris = ['https://a.example/cb', 'https://b.example/cb'];

/** Registers a client whose redirect URIs are vouched for at an address, which is asked for while the request waits. */
async function registerWithSector(sector_identifier_uri: string) {
  const started = performance.now();
  const response = await fetch(`${app.issuer}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris, subject_type: 'pairwise', sector_identifier_uri }),
  });
  const body = (await response.json()) as { error?: string; error_description?: string };
  return { status: response.status, ...body, seconds: (performance.now() - started) / 1000 };
}

/** What an unfriendly server does, by path. */
const unfriendly: Record<string, RequestListener> = {
  '/hangs': () => {},
  '/drips': (_req, res) => {
    res.write('[');
    const drip = setInterval(() => res.write(' '), 100);
    res.on('close', () => clearInterval(drip));
  },
  '/endless': (_req, res) => {
    const more = () => {
      while (!res.destroyed && res.write(' '.repeat(16_384)));
    };
    res.on('drain', more);
    more();
  },
  '/large': (_req, res) => void res.end(JSON.stringify(redirect_uris) + ' '.repeat(256 * 1024)),
  '/loop': (_req, res) => void res.writeHead(302, { location: '/loop' }).end(),
  '/inside': (_req, res) => {
    const { port } = new URL(inside.origin);
    res.writeHead(302, { location: `http://127.0.0.1:${port}/` }).end();
  },
};
const paths = Object.keys(unfriendly);

/** Each path was asked for once; fetch gives up on redirects after twenty, or when the time is over. */
function expectOneEach(before: number): void {
  const asked = theirs.asked.slice(before);
  const times = (path: string) => asked.filter((one) => one === path).length;
  const others = paths.filter((path) => path !== '/loop');
  expect(others.map((path) => [path, times(path)])).toEqual(others.map((path) => [path, 1]));
  expect(times('/loop')).toBeGreaterThan(0);
  expect(times('/loop')).toBeLessThanOrEqual(21);
  expect(inside.connections()).toBe(0);
}

describe('a sector_identifier_uri (SECURITY 38, 39)', () => {
  test('that answers is believed', async () => {
    const uri = theirs.answer('/sector', (_req, res) => res.end(JSON.stringify(redirect_uris)));
    expect(await registerWithSector(uri)).toMatchObject({ status: 201 });
  });

  test('that does not, or does so without end, is refused in time', async () => {
    const before = theirs.asked.length;
    const answers = await Promise.all(paths.map((path) => registerWithSector(theirs.origin + path)));
    for (const [index, { status, error, seconds }] of answers.entries()) {
      expect([paths[index], status, error]).toEqual([paths[index], 400, 'invalid_client_metadata']);
      expect(seconds).toBeLessThan(10);
    }
    expectOneEach(before);
  });
});

test('such a logo costs its client the logo, and nobody else anything (SECURITY 39, 40)', async () => {
  const own = await startApp({ env: app.env, database: { url: app.databaseUrl } });
  const before = theirs.asked.length;
  const clients = await Promise.all(
    paths.map((path) => registerClient(own, { redirect_uris, logo_uri: theirs.origin + path })),
  );
  // Waits for what was begun in the background.
  await own.close();
  for (const { client_id } of clients) {
    expect((await fetch(`${app.origin}/clients/${client_id}/logo`)).status).toBe(404);
  }
  expectOneEach(before);
});

test('a metadata document is had over https, in production too', async () => {
  const clientId = theirs.publish('/client.json');
  const request = { redirect_uri: 'http://127.0.0.1:4711/callback' };
  const response = await fetch(authorizationUrl(app, { client_id: clientId }, request), { redirect: 'manual' });
  expect(response.status).toBe(303);
  expect(response.headers.get('location')).toContain('/auth/interaction/');
});

test('a certificate for another name is none', async () => {
  const env = { ...app.env, OUTBOUND_ALLOW: '127.0.0.1' };
  const permitting = await startApp({ env, database: { url: app.databaseUrl } });
  const clientId = theirs.publish('/other-name.json').replace('localhost', '127.0.0.1');
  const response = await fetch(authorizationUrl(permitting, { client_id: clientId }), { redirect: 'manual' });
  expect(response.status).toBe(400);
  expect(theirs.asked).not.toContain('/other-name.json');
  await permitting.close();
});

/**
 * examples/microservices as its README starts it: beside a Latchkey of its own, everything by https with certificates of
 * one's own, set up by its one command; and what it does while Latchkey is away.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, request } from 'node:http';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, fetch } from 'undici';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { testSecrets } from '../support/app.ts';
import { createStartedDatabase, type TestDatabase } from '../support/database.ts';
import { launchExample, startExample } from '../support/example.ts';
import { endServer, freePort, listen } from '../support/listen.ts';
import { startServer } from '../support/server.ts';
import { createCertificate, privateKeyPem } from '../support/x509.ts';
import { shopSettings } from './shop.ts';

const folder = join(tmpdir(), `latchkey-microservices-${randomUUID()}`);
const authority = createCertificate({ subject: [['CN', 'Fernwood authority']], ca: true });
const certificate = createCertificate({
  subject: [['CN', 'localhost']],
  issuer: authority,
  names: { dns: 'localhost' },
  purpose: 'server',
});
const [TLS_CERT_FILE, TLS_KEY_FILE] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
const NODE_EXTRA_CA_CERTS = join(folder, 'ca.pem');
const dispatcher = new Agent({ connect: { ca: authority.pem } });

let database: TestDatabase;
/** Latchkey's own environment: the operator's commands need it as well. */
let latchkeyEnv: Record<string, string>;
let port: number;
let settings: Awaited<ReturnType<typeof shopSettings>>;

beforeAll(async () => {
  await mkdir(folder);
  await writeFile(TLS_CERT_FILE, certificate.pem);
  await writeFile(TLS_KEY_FILE, privateKeyPem(certificate));
  await writeFile(NODE_EXTRA_CA_CERTS, authority.pem);
  database = await createStartedDatabase();
  port = await freePort();
  latchkeyEnv = { DATABASE_URL: database.url, ...testSecrets, TLS_CERT_FILE, TLS_KEY_FILE };
  settings = await shopSettings({ issuer: `https://localhost:${port}/oidc` });
});
afterAll(async () => {
  await dispatcher.close();
  await database.drop();
  await rm(folder, { recursive: true });
  await rm(settings.REGISTRATION_FILE, { force: true });
});

const startLatchkey = () => startServer({ port, env: { ...latchkeyEnv, OIDC_ISSUER: undefined } });
const secure = () => ({ ...latchkeyEnv, ...settings, NODE_EXTRA_CA_CERTS });

async function placeOrder(): Promise<{ status: number; retryAfter: string | null; labels: string[] }> {
  const response = await fetch(`https://localhost:${settings.PORT}/place-order`, { method: 'POST', dispatcher });
  const made = (await response.json()) as { label: string }[];
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    labels: made.map(({ label }) => label),
  };
}

/** What a server of https says to plain http: nothing that is http. */
const answersPlainHttp = (at: number | string) =>
  new Promise<boolean>((resolve) => {
    const asked = request({ host: '127.0.0.1', port: at, path: '/' }, (answer) => resolve(answer.resume().complete));
    asked.once('error', () => resolve(false)).end();
  });

test('one command sets up and starts all by https; a stopped Latchkey is told of, and waited for', {
  timeout: 180_000,
}, async () => {
  const latchkey = await startLatchkey();
  const first = await startExample('microservices', secure());
  expect(first.stdout()).toContain('$ npm run latchkey -- apis create https://orders.fernwood.example');
  await first.printed(`Open        https://localhost:${settings.PORT}/`);
  expect((await stat(settings.REGISTRATION_FILE)).mode & 0o777).toBe(0o600);
  const { shop } = JSON.parse(await readFile(settings.REGISTRATION_FILE, 'utf8')) as {
    shop: { client_secret: string };
  };
  expect(first.stdout()).not.toContain(shop.client_secret);
  expect(await placeOrder()).toEqual({ status: 200, retryAfter: null, labels: ['200', '201', '200', '200'] });
  for (const one of [port, settings.PORT, settings.ORDERS_PORT, settings.BILLING_PORT])
    expect(await answersPlainHttp(one)).toBe(false);
  expect(await first.stop()).toEqual({ code: 0, signal: null });
  await vi.waitFor(() => expect(first.isAlive()).toBe(false), { timeout: 10_000 });

  // All is there already: no command, the same clients.
  const second = await startExample('microservices', secure());
  expect(second.stdout()).not.toContain('$ npm');
  expect((await placeOrder()).status).toBe(200);

  await latchkey.stop();
  // Keys and tokens are kept, so what is verified without asking goes on; the rest says when to come back.
  expect(await placeOrder()).toEqual({ status: 503, retryAfter: '5', labels: ['200', '503', '200', '503'] });
  const page = await fetch(`https://localhost:${settings.PORT}/`, { dispatcher });
  expect([page.status, await page.text()]).toEqual([503, expect.stringContaining('Something is away.')]);

  const again = await startLatchkey();
  expect((await placeOrder()).status).toBe(200);
  await second.stop();
  await again.stop();
});

test('an authority that nobody named is not trusted, and the line says how to name it', async () => {
  const stranger = createServer({ cert: certificate.pem, key: privateKeyPem(certificate) });
  const ISSUER = `https://localhost:${await listen(stranger)}/oidc`;
  const { NODE_EXTRA_CA_CERTS: _, ...trusting } = secure();
  const example = launchExample('microservices', { ...trusting, ISSUER });
  expect((await example.ended).code).toBe(1);
  expect(example.stderr()).toMatch(
    /^Latchkey does not answer at https:\S+ \(unable to verify.* Set NODE_EXTRA_CA_CERTS .*\n$/,
  );
  expect(example.stdout()).toBe('');
  await endServer(stranger);
});

test('what answers at another name than its issuer is not used, and the line says so', async () => {
  const stranger = createHttpServer((_req, res) => void res.setHeader('content-type', 'application/json').end('{}'));
  const ISSUER = `http://localhost:${await listen(stranger)}/oidc`;
  const example = launchExample('microservices', { ...settings, ISSUER });
  expect((await example.ended).code).toBe(1);
  expect(example.stderr()).toMatch(/^http:\S+ answers, but is not that issuer \(.*\)\. Is ISSUER right\?\n$/);
  await endServer(stranger);
});

test('without Latchkey it does not start, and one line says where it looked and what to do', async () => {
  const example = launchExample('microservices', { ...settings, ISSUER: `http://localhost:${await freePort()}/oidc` });
  expect((await example.ended).code).toBe(1);
  expect(example.stderr()).toMatch(/^Latchkey does not answer at http:\S+ \(.*\)\. Start it with `npm start` .*\n$/);
  expect(example.stdout()).toBe('');
});

/** What an operator sees of the process: what it says, how it ends, what it keeps. */
import { once } from 'node:events';
import { copyFile, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { findPostmaster } from '../../src/db/embedded-postmaster.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { createTestDatabase } from '../support/database.ts';
import { freePort, listen } from '../support/listen.ts';
import { readText } from '../support/person.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';
import { cleanEnvironment, launch, root } from '../support/running.ts';
import { launchServer, type ServerProcess, sharedSecrets, startServer } from '../support/server.ts';

let folder: string;

beforeAll(async () => {
  folder = await newDataFolder();
});
afterAll(() => removeDataFolder(folder));

const patience = { timeout: 20_000, interval: 10 };

/** Neither the process, nor npm above it, nor the database below. */
async function expectNothingLeft(server: ServerProcess): Promise<void> {
  expect(server.isAlive()).toBe(false);
  expect(await findPostmaster({ folder: join(folder, 'postgres') })).toBeUndefined();
}

test('Ctrl-C while the first start is making the database: ends at once, and leaves nothing in the way', async () => {
  const server = await launchServer({ env: { DATA_DIR: folder } });
  await vi.waitFor(
    async () => expect((await readdir(folder)).some((name) => name.startsWith('postgres.new-'))).toBe(true),
    patience,
  );
  server.signal('SIGINT', 'group');
  expect(await server.ended).toEqual({ code: 0, signal: null });
  expect(server.stderr()).toBe('');
  expect(server.stdout()).not.toContain('Latchkey is ready.');
  await expectNothingLeft(server);
});

describe('npm start, without configuration', () => {
  const start = () => startServer({ env: { DATA_DIR: folder, OIDC_ISSUER: undefined }, through: 'npm' });

  test('says where it is and where the data lives; SIGTERM to npm alone stops all of it', async () => {
    const server = await start();
    const origin = `http://localhost:${server.port}`;
    expect(server.stdout()).toContain(
      [
        'Latchkey is ready.',
        '',
        `  Issuer     ${origin}/oidc`,
        `  Discovery  ${origin}/oidc/.well-known/openid-configuration`,
        `  Open first ${origin}/`,
        `  Data       ${folder}`,
        '\n',
      ].join('\n'),
    );
    const discovery = await fetch(`${origin}/oidc/.well-known/openid-configuration`);
    expect(await discovery.json()).toMatchObject({ issuer: `${origin}/oidc` });
    server.signal('SIGTERM');
    expect(await server.ended).toEqual({ code: 0, signal: null });
    await expectNothingLeft(server);
  });

  test.for([
    ['SIGTERM to npm and its whole group', 'SIGTERM'],
    ['Ctrl-C', 'SIGINT'],
  ] as const)('%s: stops all of it', async ([, signal]) => {
    const server = await start();
    server.signal(signal, 'group');
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(server.stderr()).toBe('');
    await expectNothingLeft(server);
  });

  test('the same signal twice is one, and requests under way are finished', async () => {
    const server = await start();
    const underWay = await halfARequest(server);
    server.signal('SIGINT', 'group');
    await server.printed('asked to stop');
    server.signal('SIGINT', 'group');
    await vi.waitFor(() => expect(fetch(server.origin)).rejects.toThrow(), patience);
    const answer = await underWay.finish();
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_credentials' } });
    const answeredAt = performance.now();
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(performance.now() - answeredAt, 'not held up by its connection').toBeLessThan(5_000);
    await expectNothingLeft(server);
  });
});

/** A request that the server has begun to serve, over a connection that stays open for more. */
async function halfARequest(server: ServerProcess) {
  const body = JSON.stringify({ email: 'nobody@moreno.example', password: 'wrong horse battery' });
  const request = httpRequest(`${server.origin}/auth/login`, {
    method: 'POST',
    agent: new Agent({ keepAlive: true }),
    headers: { 'content-type': 'application/json', 'content-length': body.length, expect: '100-continue' },
  });
  request.flushHeaders();
  await once(request, 'continue');
  request.write(body.slice(0, 10));
  return {
    async finish() {
      request.end(body.slice(10));
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return { status: response.statusCode, body: JSON.parse(await text(response)) as unknown };
    },
  };
}

test('a second start keeps accounts, clients, sessions and keys; a second server on the folder is refused', async () => {
  const first = await startServer({ env: { DATA_DIR: folder } });
  const registration = await registerClient(first);
  const account = await registerAccount(first);
  const { person, tokens } = await signInThrough(first, await discover(first, registration), account);

  const second = await launchServer({ env: { DATA_DIR: folder } });
  expect(await second.ended).toEqual({ code: 1, signal: null });
  expect(second.stderr()).toBe(`Another Latchkey server is running on ${folder}. Stop it, or set DATA_DIR.\n`);
  expect(await first.stop()).toEqual({ code: 0, signal: null });

  const again = await startServer({ env: { DATA_DIR: folder }, port: first.port });
  const jwks = (await (await fetch(`${again.issuer}/jwks`)).json()) as JSONWebKeySet;
  const verified = await jwtVerify(tokens.id_token ?? '', createLocalJWKSet(jwks), { issuer: again.issuer });
  expect(verified.payload.sub).toBe(account.sub);
  expect(readText((await person.open('/account')).html)).toContain(account.email);
  const rp = await discover(again, registration);
  expect(await rp.userinfo(tokens.access_token, account.sub)).toMatchObject({ email: account.email });
  const request = await rp.start();
  const { left } = await person.open(request.url);
  const renewed = await request.finish(left as URL);
  expect(renewed.claims()?.sub, 'signed in and allowed before, so nothing is asked').toBe(account.sub);
  await again.stop();
  await expectNothingLeft(again);
});

describe('a database that does not answer', () => {
  test('is waited for, and SIGTERM ends the waiting', async () => {
    const server = await launchServer({
      env: { DATABASE_URL: `postgres://latchkey@127.0.0.1:${await freePort()}/latchkey`, DATA_DIR: folder },
    });
    await server.printed('waiting for the database');
    expect(server.stdout()).toContain('ECONNREFUSED');
    expect(await server.stop()).toEqual({ code: 0, signal: null });
  });

  test('or that hangs does not hold up a stop', async () => {
    const hanging = createServer();
    const port = await listen(hanging);
    const connected = once(hanging, 'connection');
    const server = await launchServer({
      env: { DATABASE_URL: `postgres://latchkey@127.0.0.1:${port}/latchkey`, DATA_DIR: folder },
    });
    await connected;
    const askedAt = performance.now();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - askedAt).toBeLessThan(5_000);
    hanging.close();
  });
});

test('npm run dev serves what was changed without being told to', async () => {
  const clone = await mkdtemp(join(tmpdir(), 'latchkey-dev-'));
  const database = await createTestDatabase();
  onTestFinished(async () => {
    await database.drop();
    await rm(clone, { recursive: true });
  });
  await copyFile(join(root, 'package.json'), join(clone, 'package.json'));
  for (const name of ['src', 'views', 'migrations', 'node_modules']) await symlink(join(root, name), join(clone, name));
  const brand = (name: string) => writeFile(join(clone, '.env'), `BRAND_NAME=${name}\n`);
  await brand('Before');
  const PORT = String(await freePort());
  const variables = { ...cleanEnvironment(), ...sharedSecrets, DATABASE_URL: database.url, PORT };
  const dev = launch(['npm', 'run', 'dev', '--prefix', clone], variables);
  const startPage = async () => (await fetch(`http://localhost:${PORT}/`)).text();
  await dev.printed('Latchkey is ready.');
  expect(await startPage()).toContain('Before');
  await brand('After');
  await vi.waitFor(async () => expect(await startPage()).toContain('After'), patience);
  await dev.stop();
  expect(dev.isAlive()).toBe(false);
});

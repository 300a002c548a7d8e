/** Several processes that serve requests: who looks after them, and how they end. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { findPostmaster } from '../../src/db/embedded-postmaster.ts';
import { newDataFolder, removeDataFolder } from '../support/data-folder.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';
import { childrenOf, launchServer, type ServerProcess, sharedSecrets, startServer } from '../support/server.ts';

let database: TestDatabase;
let env: Record<string, string>;
let server: ServerProcess;

beforeAll(async () => {
  database = await createTestDatabase();
  env = { ...sharedSecrets, DATABASE_URL: database.url, WEB_CONCURRENCY: '3' };
  server = await startServer({ env });
});
afterAll(async () => {
  await server.kill9();
  await database.drop();
});

const patience = { timeout: 60_000, interval: 50 };

const workersOf = ({ pid }: ServerProcess) => childrenOf(pid);

/** One new connection after the other, until told to stop. Answers what failed. */
async function ask(stop: AbortSignal): Promise<{ answered: number; failed: unknown[] }> {
  const failed: unknown[] = [];
  let answered = 0;
  while (!stop.aborted) {
    try {
      const signal = AbortSignal.timeout(5_000);
      const answer = await fetch(`${server.issuer}/jwks`, { headers: { connection: 'close' }, signal });
      await answer.arrayBuffer();
      expect(answer.status).toBe(200);
      answered += 1;
    } catch (error) {
      failed.push(error);
    }
    // A hanging worker is waited for for ten seconds; nobody has to be asked a thousand times meanwhile.
    await delay(50);
  }
  return { answered, failed };
}

/** Resolves when the server has hung up. */
async function connectInSilence(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  await new Promise((resolve) => socket.resume().once('close', resolve));
}

test('are announced once, when all of them serve; a flow is served by any of them', async () => {
  expect(server.stdout().split('Latchkey is ready.')).toHaveLength(2);
  expect(await workersOf(server)).toHaveLength(3);
  const registration = await registerClient(server);
  const account = await registerAccount(server);
  const { tokens } = await signInThrough(server, await discover(server, registration), account);
  expect(tokens.claims()?.sub).toBe(account.sub);
});

test('one that is killed and one that hangs are replaced; only what they had begun is lost', async () => {
  const before = await workersOf(server);
  const [killed = 0, hanging = 0] = before;
  const enough = new AbortController();
  const everybody = [ask(enough.signal), ask(enough.signal)];
  process.kill(hanging, 'SIGSTOP');
  process.kill(killed, 'SIGKILL');
  // Whoever takes them: who connects and says nothing does not stay, nor does one with whom nobody talks any more.
  const silent = Promise.all([1, 2, 3, 4].map(() => connectInSilence(server.port)));
  await server.printed('a worker does not answer');
  await vi.waitFor(() => expect(server.stdout().split('worker replaced')).toHaveLength(3), patience);
  enough.abort();
  const asked = await Promise.all(everybody);
  const failed = asked.flatMap((one) => one.failed);
  expect(failed.length, 'one each with the two, at most').toBeLessThanOrEqual(asked.length * 2);
  for (const { answered } of asked) expect(answered).toBeGreaterThan(20);
  const after = await workersOf(server);
  expect(after).toHaveLength(3);
  expect(after.filter((pid) => before.includes(pid))).toHaveLength(1);
  await silent;
}, 120_000);

test('another server on the same port says in one line why it cannot start', async () => {
  const second = await launchServer({ env: { ...env, WEB_CONCURRENCY: '2' }, port: server.port });
  expect(await second.ended).toEqual({ code: 1, signal: null });
  expect(second.stderr()).toBe(
    `Cannot listen on 127.0.0.1:${server.port}: something else is listening there. Set PORT or HOST.\n`,
  );
}, 120_000);

test('none outlives a primary that is killed', async () => {
  server.signal('SIGKILL');
  await server.ended;
  await vi.waitFor(() => expect(server.isAlive()).toBe(false), patience);
});

test('Ctrl-C, twice, reaches all of them: they stop in order, the embedded database last', async () => {
  const folder = await newDataFolder();
  const embedded = await startServer({ env: { DATA_DIR: folder, WEB_CONCURRENCY: '2' }, through: 'npm' });
  embedded.signal('SIGINT', 'group');
  await embedded.printed('asked to stop');
  embedded.signal('SIGINT', 'group');
  expect(await embedded.ended).toEqual({ code: 0, signal: null });
  expect(embedded.stderr()).toBe('');
  expect(embedded.isAlive()).toBe(false);
  expect(await findPostmaster({ folder: join(folder, 'postgres') })).toBeUndefined();
  await removeDataFolder(folder);
}, 120_000);

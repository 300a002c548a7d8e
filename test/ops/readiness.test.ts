import { expect, test, vi } from 'vitest';
import { finishMove, startMove } from '../../src/db/move.ts';
import { startApp, startAppForTest, type TestApp } from '../support/app.ts';
import { createTestDatabase } from '../support/database.ts';
import { createDatabaseProxy } from '../support/database-proxy.ts';

async function probe({ origin }: Pick<TestApp, 'origin'>): Promise<{ status: number; checks: Record<string, string> }> {
  const response = await fetch(`${origin}/readyz`);
  expect(response.headers.get('cache-control')).toContain('no-store');
  const { checks } = (await response.json()) as { checks: Record<string, string> };
  return { status: response.status, checks };
}

const fine = { server: 'ok', database: 'ok', migrations: 'ok', keys: 'ok', sweep: 'ok' };

test('an instance is ready while all is well, and is not as soon as it is to stop', async () => {
  const app = await startAppForTest();
  expect(await probe(app)).toMatchObject({ status: 200, checks: fine });
  app.app.drain();
  expect(await probe(app)).toMatchObject({ status: 503, checks: { ...fine, server: 'stopping' } });
});

test('an instance whose database lacks a migration is not ready', async () => {
  const app = await startAppForTest();
  await app.database.pool.query(
    'delete from drizzle.__drizzle_migrations where id = (select max(id) from drizzle.__drizzle_migrations)',
  );
  expect(await probe(app)).toMatchObject({ status: 503, checks: { database: 'ok', migrations: '1 pending' } });
});

test('an instance that does not have the key that signs elsewhere is not ready', async () => {
  const app = await startAppForTest();
  await app.database.pool.query(`update signing_keys set kid = 'sealed-under-another-key',
    activated_at = now() - interval '2 minutes' where alg = 'ES256' and state = 'current'`);
  expect(await probe(app)).toMatchObject({ status: 503, checks: { keys: 'not those that are stored' } });
});

test('a key that began to sign just now has its time to be followed', async () => {
  const app = await startAppForTest({ idle: true });
  await app.database.pool.query(`update signing_keys set kid = 'new', activated_at = now()
    where alg = 'ES256' and state = 'current'`);
  expect(await probe(app)).toMatchObject({ status: 200, checks: { keys: 'ok' } });
});

test('a sweep that is behind is told, and turns nobody away', async () => {
  const app = await startAppForTest({ idle: true });
  await app.database.pool.query(`insert into playground_runs (id_hash, payload_encrypted, expires_at)
    values ('x', 'x', now() - interval '1 day')`);
  const { status, checks } = await probe(app);
  expect([status, checks.sweep]).toEqual([200, expect.stringMatching(/^\d{5} seconds behind$/)]);
});

test('an instance on a database that was moved away reads on while it moves, and is not ready once the copy is in use', async () => {
  const app = await startAppForTest({ idle: true });
  const move = await startMove(app.databaseUrl, 'db.example.com:5432/latchkey', async () => {});
  expect(await probe(app)).toMatchObject({ status: 200, checks: fine });
  await finishMove(app.databaseUrl, move);
  await expect.poll(() => probe(app)).toMatchObject({ status: 503, checks: { server: 'ok', database: 'moved' } });
});

test('a flood of probes costs the database what one does', async () => {
  const app = await startAppForTest({ idle: true });
  const uses = vi.fn();
  app.database.pool.on('acquire', uses);
  await probe(app);
  const once = uses.mock.calls.length;
  uses.mockClear();
  await Promise.all(Array.from({ length: 200 }, () => probe(app)));
  // However slow this machine is, there are not many seconds in that.
  expect(uses.mock.calls.length).toBeLessThan(20 * once);
});

test('a database that hangs is not waited for', async () => {
  const { url, drop } = await createTestDatabase();
  const proxy = await createDatabaseProxy(url);
  await proxy.open();
  const app = await startApp({ database: { url: proxy.url } });
  proxy.hang();
  expect(await probe(app)).toMatchObject({ status: 503, checks: { server: 'ok', database: 'not answering' } });
  proxy.cut();
  await app.close();
  await proxy.close();
  await drop();
});

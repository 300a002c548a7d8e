/** Several workers behind one port: a scrape meets one of them and hears of all. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { scrape } from '../support/metrics.ts';
import { childrenOf, sharedSecrets, startServer } from '../support/server.ts';

test('a scrape of any worker is the sum over all, and a worker that ends takes nothing from it', async () => {
  const database = await createTestDatabase();
  onTestFinished(database.drop);
  const server = await startServer({
    env: { ...sharedSecrets, DATABASE_URL: database.url, WEB_CONCURRENCY: '2' },
  });
  onTestFinished(() => server.kill9());
  const scrapeAnew = () => scrape(server, { connection: 'close' });
  const ask = async (times: number) => {
    for (let asked = 0; asked < times; asked += 1) {
      await (await fetch(`${server.origin}/livez`, { headers: { connection: 'close' } })).arrayBuffer();
    }
  };
  const labels = { route: '/livez', method: 'GET', status: '200' };

  await ask(10);
  const first = await Promise.all(Array.from({ length: 4 }, scrapeAnew));
  expect(first.map(({ value }) => value('latchkey_http_requests_total', labels))).toEqual([10, 10, 10, 10]);
  expect(first.map(({ value }) => value('latchkey_workers'))).toEqual([2, 2, 2, 2]);
  expect(first.map(({ value }) => value('latchkey_database_up'))).toEqual([1, 1, 1, 1]);
  expect(first.map(({ value }) => value('latchkey_signing_keys', { alg: 'ES256', state: 'current' }))).toEqual([
    1, 1, 1, 1,
  ]);

  process.kill(await pidOfAWorker(server.pid), 'SIGKILL');
  await vi.waitFor(
    async () => {
      expect((await scrapeAnew()).value('latchkey_workers')).toBe(2);
      expect(server.stdout()).toContain('worker replaced');
    },
    { timeout: 60_000, interval: 200 },
  );
  await ask(5);
  const last = await scrapeAnew();
  expect(last.value('latchkey_http_requests_total', labels)).toBe(15);
  expect(last.value('latchkey_http_request_duration_seconds_count', { route: '/livez', method: 'GET' })).toBe(15);
}, 120_000);

async function pidOfAWorker(primary: number): Promise<number> {
  const [worker] = await childrenOf(primary);
  if (!worker) throw new Error('no worker runs');
  return worker;
}

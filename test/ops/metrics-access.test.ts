/** Who is told the metrics. */
import { request } from 'node:http';
import { expect, test } from 'vitest';
import { cameDirectly } from '../../src/ops/scraper.ts';
import { startAppForTest, type TestApp } from '../support/app.ts';

/** A request whose headers are just these, `Host` included. */
function statusOf({ port }: TestApp, headers: Record<string, string> = {}): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, path: '/metrics', headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asking.on('error', reject).end();
  });
}

test('without METRICS_TOKEN metrics are for this machine, and not for whom a proxy on it lets through', async () => {
  const app = await startAppForTest();
  expect(await statusOf(app)).toBe(200);
  for (const header of ['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'Forwarded', 'Via', 'X-Real-IP']) {
    expect(await statusOf(app, { [header]: '127.0.0.1' }), header).toBe(403);
  }
});

test('a trusted proxy on this machine is not taken for it, even when it says nothing', async () => {
  for (const TRUST_PROXY of ['1', 'loopback', '127.0.0.1']) {
    expect(await statusOf(await startAppForTest({ env: { TRUST_PROXY } })), TRUST_PROXY).toBe(403);
  }
  expect(await statusOf(await startAppForTest({ env: { TRUST_PROXY: '10.0.0.0/8' } }))).toBe(200);
});

test('with METRICS_TOKEN they are for whoever shows it, from anywhere, and for nobody else', async () => {
  const app = await startAppForTest({ env: { METRICS_TOKEN: 'of-prometheus', TRUST_PROXY: 'loopback' } });
  const elsewhere = { 'X-Forwarded-For': '192.0.2.1' };
  expect(await statusOf(app, { ...elsewhere, Authorization: 'Bearer of-prometheus' })).toBe(200);
  const refused = await fetch(`${app.origin}/metrics`);
  expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="metrics"']);
  expect(refused.headers.get('cache-control')).toContain('no-store');
  for (const Authorization of ['Bearer of-prometheu', 'Bearer', 'Basic of-prometheus', 'of-prometheus']) {
    expect(await statusOf(app, { Authorization }), Authorization).toBe(401);
  }
});

test('METRICS_TOKEN cannot be guessed at leisure', async () => {
  const app = await startAppForTest({ env: { METRICS_TOKEN: 'abc' } });
  const statuses = await Promise.all(
    Array.from({ length: 70 }, (_, guess) => statusOf(app, { Authorization: `Bearer ${guess}` })),
  );
  expect(statuses.filter((status) => status === 429)).toHaveLength(10);
});

test.each([
  { remoteAddress: '127.0.0.1', direct: true },
  { remoteAddress: '127.8.9.1', direct: true },
  { remoteAddress: '::1', direct: true },
  { remoteAddress: '::ffff:127.0.0.1', direct: true },
  { remoteAddress: '10.0.0.1', direct: false },
  { remoteAddress: '::ffff:10.0.0.1', direct: false },
  { remoteAddress: undefined, direct: false },
  { headers: ['Host', 'localhost:3000'], direct: true },
  { headers: ['host', '[::1]:3000'], direct: true },
  { headers: ['Host', 'id.example.com'], direct: true },
  { headers: ['Host', 'rebound.example'], direct: false },
  { headers: ['Host', '127.0.0.1.rebound.example:3000'], direct: false },
  { headers: ['Host', 'localhost', 'X-FORWARDED-FOR', '127.0.0.1'], direct: false },
])('a connection of $remoteAddress with $headers is direct: $direct', ({ direct, headers = [], ...from }) => {
  const remoteAddress = 'remoteAddress' in from ? from.remoteAddress : '127.0.0.1';
  const origin = 'https://id.example.com';
  expect(cameDirectly({ socket: { remoteAddress }, rawHeaders: headers }, { isProxy: () => false, origin })).toBe(
    direct,
  );
});

/** The range query: what the service hears, what its answer means, and that nobody waits for it for long. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startAppForTest, type TestApp } from '../support/app.ts';
import { endServer, listen } from '../support/listen.ts';

const leaked = 'kestrel over tidewater';
const digest = createHash('sha1').update(leaked).digest('hex').toUpperCase();

let asked: IncomingMessage[];
let answer: (res: ServerResponse) => void;
const service = createServer((req, res) => {
  asked.push(req);
  answer(res);
});

beforeAll(() => listen(service));
afterAll(() => endServer(service));
beforeEach(() => {
  asked = [];
  answer = (res) => res.end(`0018A45C4D1DEF81644B54AB7F969B88D65:3\r\n${digest.slice(5)}:42\r\n`);
});

const start = (env = {}) =>
  startAppForTest({
    env: {
      PASSWORD_CHECK: 'breached',
      PASSWORD_RANGE_URL: `http://127.0.0.1:${(service.address() as AddressInfo).port}/range/`,
      OUTBOUND_ALLOW: '127.0.0.1',
      ...env,
    },
  });
let people = 0;
async function register(app: TestApp, password: string): Promise<Response> {
  people += 1;
  const body = JSON.stringify({ email: `person${people}@moreno.example`, name: 'Ada', password });
  return fetch(`${app.origin}/auth/register`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  });
}
const warnings = (app: TestApp) => app.log.filter(({ msg }) => msg.includes('PASSWORD_RANGE_URL'));

test('a password that the service knows is refused; the service hears five digits of its SHA-1', async () => {
  const app = await start();
  const refused = await register(app, leaked);
  expect([refused.status, await refused.json()]).toMatchObject([
    400,
    { issues: [{ path: 'password', message: 'This password has appeared in a leak. Choose another.' }] },
  ]);
  expect(asked.map(({ url }) => url)).toEqual([`/range/${digest.slice(0, 5)}`]);
  expect(asked[0]?.headers['add-padding']).toBe('true');
  expect((await register(app, `${leaked} once more`)).status).toBe(201);
  expect(warnings(app)).toEqual([]);
});

test('a line of padding is no hit', async () => {
  answer = (res) => res.end(`${digest.slice(5)}:0\r\n`);
  expect((await register(await start(), leaked)).status).toBe(201);
});

test('what the list has already is not asked of anybody', async () => {
  expect((await register(await start(), 'password1')).status).toBe(400);
  expect(asked).toEqual([]);
});

test.each<[string, (res: ServerResponse) => void]>([
  ['that fails', (res) => res.writeHead(503).end()],
  ['that hangs up', (res) => res.destroy()],
  ['that never answers', () => {}],
  ['that sends elsewhere', (res) => res.writeHead(302, { location: 'https://evil.example/' }).end()],
  ['that never stops', (res) => res.end('0'.repeat(1024 * 1024))],
])('a service %s keeps nobody out, and the log says so', async (_what, fault) => {
  answer = fault;
  const app = await start();
  expect((await register(app, leaked)).status).toBe(201);
  expect(warnings(app)).toHaveLength(1);
  expect(JSON.stringify(warnings(app))).not.toContain(leaked);
});

test('a service at a private address is not asked unless the operator permits it (SECURITY 38)', async () => {
  const app = await start({ OUTBOUND_ALLOW: '' });
  expect((await register(app, leaked)).status).toBe(201);
  expect([asked.length, warnings(app).length]).toEqual([0, 1]);
});

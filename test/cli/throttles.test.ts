/** What the operator sees of too many tries, and does about it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditEvents } from '../../src/db/schema.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { runCommandLine } from '../support/command-line.ts';
import { fromElsewhere } from '../support/person.ts';
import { registerAccount } from '../support/relying-party.ts';

const folder = mkdtempSync(join(tmpdir(), 'latchkey-throttles-'));
let app: TestApp;

beforeAll(async () => {
  app = await startApp({ env: { TRUST_PROXY: '1' } });
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true });
});

async function run(...words: string[]): Promise<string> {
  const { stdout, stderr, code } = await runCommandLine({ env: app.env, folder }, words);
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
}

async function logIn(email: string, password: string): Promise<number> {
  const headers = { 'content-type': 'application/json', ...fromElsewhere() };
  const body = JSON.stringify({ email, password });
  return (await fetch(`${app.origin}/auth/login`, { method: 'POST', headers, body })).status;
}

test('accounts show tells of a pause, accounts unthrottle ends it and is on record (SECURITY 52)', async () => {
  const ada = await registerAccount(app);
  expect(await run('accounts', 'show', ada.email)).not.toContain('throttles');
  expect(await logIn(ada.email, 'wrong')).toBe(401);
  expect(await run('accounts', 'show', ada.sub)).toMatch(/^throttles +1 wrong password$/m);
  for (let index = 0; index < 29; index += 1) expect(await logIn(ada.email, 'wrong')).toBe(401);
  expect(await logIn(ada.email, ada.password)).toBe(429);
  expect(await run('accounts', 'show', ada.sub)).toMatch(
    /^throttles +30 wrong passwords, paused until \d{4}-\d\d-\d\dT\S+Z$/m,
  );
  expect(JSON.parse(await run('accounts', 'show', ada.email, '--json'))).toMatchObject({
    throttles: [{ kind: 'password', tries: 30, from: 'anywhere', paused_until: expect.any(Number) }],
  });

  expect(await run('accounts', 'unthrottle', ada.email)).toBe(`${ada.sub} starts from nothing again.\n`);
  expect(await logIn(ada.email, ada.password)).toBe(200);
  expect(JSON.parse(await run('accounts', 'unthrottle', ada.sub, '--json'))).toEqual({ sub: ada.sub, cleared: false });
  expect(await run('accounts', 'unthrottle', ada.sub)).toBe(`Nothing was counted for ${ada.sub}.\n`);

  const events = await app.database.db.select().from(auditEvents).where(eq(auditEvents.accountId, ada.sub));
  const names = events.map(({ event }) => event).filter((event) => /throttle|failed/.test(event));
  expect(names).toEqual([...Array(30).fill('login.failed'), 'login.throttled', 'throttle.cleared']);
  expect(events.find(({ event }) => event === 'throttle.cleared')).toMatchObject({
    address: null,
    details: { by: 'cli', user: expect.any(String) },
  });
});

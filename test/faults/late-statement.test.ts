/**
 * A database that stands still for half a minute does afterwards what it was told before, though whoever told it has given
 * up and said "not now". That is no use of a token, since nobody has had an answer.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { issueTokens, refresh, type SignedIn, signedInPerson } from '../security/protocol.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';

let app: TestApp;
let client: Registration;
let signedIn: SignedIn;
let held: (() => Promise<unknown>) | undefined;
let holds = false;

beforeAll(async () => {
  app = await startApp({ expectErrors: true, idle: true });
  client = await registerClient(app);
  signedIn = await signedInPerson(app);
  const { query } = pg.Client.prototype;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    const { text } = args[0] as { text?: string };
    if (!holds || this.database !== new URL(app.databaseUrl).pathname.slice(1) || !text?.includes('set consumed_at'))
      return Reflect.apply(query, this, args);
    const [{ values }, callback] = [args[0] as { values: unknown[] }, args.at(-1) as (error: Error) => void];
    held = () => app.database.pool.query({ text, values });
    callback(new Error('Query read timeout'));
    return undefined;
  } as never);
});
afterAll(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await app.close();
});

test('a refresh that was given up and done half a minute later may be asked for again', async () => {
  const { refresh_token } = await issueTokens(app, client, signedIn);
  holds = true;
  expect((await refresh(app, client, refresh_token)).status).toBe(503);
  holds = false;
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 30_000 });
  await held?.();
  const again = await refresh(app, client, refresh_token);
  expect(again.status, JSON.stringify(again.body)).toBe(200);
  expect((await refresh(app, client, String(again.body.refresh_token))).status).toBe(200);
});

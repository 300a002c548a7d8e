/** A server that dies while it tells a client of a sign-out leaves that to the others. */
import { sql } from 'drizzle-orm';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { accepts, hangs, type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';
import { type ServerProcess, sharedSecrets, startServer } from '../support/server.ts';

let database: TestDatabase;
let dying: ServerProcess;
let other: TestApp;
let receiver: LogoutReceiver;

beforeAll(async () => {
  database = await createTestDatabase();
  receiver = await startLogoutReceiver(hangs);
  const env = { ...sharedSecrets, DATABASE_URL: database.url, OUTBOUND_ALLOW: '127.0.0.1' };
  dying = await startServer({ env });
  other = await startApp({ database, env });
});
afterAll(async () => {
  await other.close();
  await receiver.close();
  await database.drop();
});

test('killed while a client has not answered, it is followed by another that delivers', async () => {
  const registration = await registerClient(dying, {
    backchannel_logout_uri: receiver.uri,
    backchannel_logout_session_required: true,
  });
  const rp = await discover(dying, registration);
  const { person, tokens } = await signInThrough(dying, rp, await registerAccount(dying));
  await person.request('/auth/logout', { method: 'POST' });
  const first = decodeJwt(await receiver.next());
  await dying.kill9();

  receiver.answer = accepts;
  await other.database.db.execute(sql`update backchannel_logouts set next_attempt_at = now()`);
  await registerAccount(other);
  const second = decodeJwt(await receiver.next());
  expect(second).toMatchObject({ sub: first.sub, sid: decodeJwt(tokens.id_token ?? '').sid });
  expect(second.jti).not.toBe(first.jti);
});

/** Who uses a rotated refresh token again ends its family, and it is written down (SECURITY 17). */
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { clearAuditLog } from '../support/audit.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  ageUses,
  issueTokens,
  post,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
  userinfoStatus,
} from './protocol.ts';

let app: TestApp;
let client: Registration;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  client = await registerClient(app);
  signedIn = await signedInPerson(app);
});
afterAll(() => app.close());
afterEach(async () => {
  await clearAuditLog(app.database.db);
  app.log.length = 0;
});

async function recorded(): Promise<Record<string, unknown>[]> {
  const { rows } = await app.database.db.execute(
    sql`select * from audit_events where event = 'refresh-token.reused' order by id`,
  );
  return rows;
}

const warned = () => app.log.filter(({ level, msg }) => level === 40 && /used again/.test(msg));

async function refreshed(token: string): Promise<Tokens> {
  const { status, body } = await refresh(app, client, token);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Tokens;
}

/** Sends a token again as a thief would, who has the client's credentials too. */
function reuse(token: string) {
  const headers = { 'user-agent': 'Thief/1.0' };
  return post(app, 'token', { grant_type: 'refresh_token', refresh_token: token }, client, headers);
}

test('the record says which account and client, from where, how late, and which token of the family it was', async () => {
  const first = await issueTokens(app, client, signedIn);
  const second = await refreshed(first.refresh_token);
  const third = await refreshed(second.refresh_token);
  await ageUses(app, 75);
  const answer = await reuse(second.refresh_token);
  expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant']);
  expect(await refresh(app, client, third.refresh_token)).toMatchObject({ status: 400 });

  const [event, ...more] = await recorded();
  expect(more).toEqual([]);
  expect(event).toMatchObject({
    account_id: signedIn.account.sub,
    client_id: client.client_id,
    address: '127.0.0.1',
    user_agent: 'Thief/1.0',
    request_id: answer.headers.get('x-request-id'),
    details: { seconds_since_rotation: 75, rotations: 1 },
  });
  expect(warned()).toMatchObject([
    {
      accountId: signedIn.account.sub,
      clientId: client.client_id,
      address: '127.0.0.1',
      userAgent: 'Thief/1.0',
      requestId: answer.headers.get('x-request-id'),
      seconds_since_rotation: 75,
      rotations: 1,
    },
  ]);
  const written = JSON.stringify([event, app.log]);
  for (const tokens of [first, second, third]) {
    expect(written).not.toContain(tokens.refresh_token);
    expect(written).not.toContain(tokens.access_token);
  }
});

test('of eight parallel reuses every one is refused, and there is one record', async () => {
  const first = await issueTokens(app, client, signedIn);
  const second = await refreshed(first.refresh_token);
  await ageUses(app, 11);
  const answers = await Promise.all(Array.from({ length: 8 }, () => reuse(first.refresh_token)));
  expect(answers.map(({ status, body }) => [status, body.error])).toEqual(Array(8).fill([400, 'invalid_grant']));
  expect(await userinfoStatus(app, second.access_token)).toBe(401);
  expect(await recorded()).toHaveLength(1);
  expect(warned()).toHaveLength(1);
});

test('different tokens of one family used again at once end it with one record', async () => {
  const family = [await issueTokens(app, client, signedIn)];
  for (let rotation = 0; rotation < 5; rotation += 1) family.push(await refreshed(family.at(-1)?.refresh_token ?? ''));
  await ageUses(app, 11);
  const answers = await Promise.all(family.slice(0, -1).map(({ refresh_token }) => reuse(refresh_token)));
  expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(400));
  expect((await reuse(family.at(-1)?.refresh_token ?? '')).status).toBe(400);
  expect(await recorded()).toHaveLength(1);
});

test('what is no reuse is not recorded as one: a repeat within the leeway, a stranger, an unknown token', async () => {
  const { refresh_token } = await issueTokens(app, client, signedIn);
  await refreshed(refresh_token);
  await refreshed(refresh_token);
  const stranger = await registerClient(app);
  await ageUses(app, 11);
  expect((await refresh(app, stranger, refresh_token)).status).toBe(400);
  expect((await reuse('unknown')).status).toBe(400);
  expect(await recorded()).toEqual([]);
});

test('revoking a token that was rotated ends the family too, and is no reuse', async () => {
  const first = await issueTokens(app, client, signedIn);
  const second = await refreshed(first.refresh_token);
  await ageUses(app, 11);
  expect((await post(app, 'revocation', { token: first.refresh_token }, client)).status).toBe(200);
  expect(await userinfoStatus(app, second.access_token)).toBe(401);
  expect((await refresh(app, client, second.refresh_token)).status).toBe(400);
  expect(await recorded()).toEqual([]);
});

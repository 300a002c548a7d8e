/** The adapter's contract, stated once, for every kind of model the library stores. */
import { randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import type { AdapterPayload } from 'oidc-provider';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { openDatabase } from '../../src/db/database.ts';
import { createEncryption } from '../../src/keys/encryption.ts';
import { sha256 } from '../../src/lib/hash.ts';
import { randomToken } from '../../src/lib/random.ts';
import { createAdapter } from '../../src/oidc/adapter.ts';
import { ageUses } from '../security/protocol.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const tokenModels = [
  'AccessToken',
  'AuthorizationCode',
  'RefreshToken',
  'ClientCredentials',
  'DeviceCode',
  'PushedAuthorizationRequest',
  'RegistrationAccessToken',
  'InitialAccessToken',
  'BackchannelAuthenticationRequest',
  'PreAuthorizedCode',
];
const consumable = tokenModels.filter((model) => /Code|RefreshToken|Pushed|Backchannel/.test(model));

let database: OpenTestDatabase;
const encryption = createEncryption([randomBytes(32)]);
const stores = new Map<string, Record<string, unknown>>();

const dependencies = {
  encryption,
  refreshTokenLeewaySeconds: 0,
  clients: {
    find: async (id: string) => stores.get(id),
    markUsed: async () => {},
  },
};

function adapterOf(model: string, refreshTokenLeewaySeconds = 0) {
  return createAdapter({ ...dependencies, db: database.db, refreshTokenLeewaySeconds })(model);
}

function payload(extra: Record<string, unknown> = {}): AdapterPayload {
  const now = Math.floor(Date.now() / 1000);
  return { iat: now, exp: now + 60, ...extra } as AdapterPayload;
}

beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());
afterEach(() => {
  vi.useRealTimers();
});

function advance(seconds: number): void {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(now + seconds * 1000);
}

async function everythingStored(): Promise<string> {
  const tables = ['oidc_grants', 'oidc_sessions', 'oidc_session_ids', 'oidc_interaction'];
  const rows = await Promise.all(tables.map((table) => database.db.execute(sql.raw(`select * from ${table}`))));
  return JSON.stringify(rows.map((result) => result.rows));
}

describe.each([...tokenModels, 'Grant', 'ReplayDetection'])('%s', (model) => {
  test('is found as it was stored, under its own id', async () => {
    const adapter = adapterOf(model);
    const id = randomToken();
    const stored = payload({ jti: id, kind: model, clientId: 'c', nested: { list: [1, 'zwei'], 'x5t#S256': 'y' } });
    await adapter.upsert(id, stored, 60);
    expect(await adapter.find(id)).toEqual(stored);
  });

  test('is absent when unknown, expired, destroyed, or stored under another model', async () => {
    const adapter = adapterOf(model);
    const id = randomToken();
    expect(await adapter.find(id)).toBeUndefined();
    await adapter.upsert(id, payload({ jti: id }), 60);
    expect(await adapterOf(model === 'AccessToken' ? 'RefreshToken' : 'AccessToken').find(id)).toBeUndefined();
    advance(60);
    // Whoever polls with a device code is told that it has run out.
    if (model !== 'DeviceCode') expect(await adapter.find(id)).toBeUndefined();
    vi.useRealTimers();
    await adapter.destroy(id);
    expect(await adapter.find(id)).toBeUndefined();
  });

  test('an id with NUL in it is simply not found', async () => {
    expect(await adapterOf(model).find('a\0b')).toBeUndefined();
  });
});

describe.each(tokenModels)('%s', (model) => {
  test('is replaced by a second upsert', async () => {
    const adapter = adapterOf(model);
    const id = randomToken();
    await adapter.upsert(id, payload({ jti: id, scope: 'a' }), 60);
    await adapter.upsert(id, payload({ jti: id, scope: 'b' }), 60);
    expect(await adapter.find(id)).toMatchObject({ scope: 'b' });
  });

  test('never expires without a lifetime', async () => {
    const adapter = adapterOf(model);
    const id = randomToken();
    await adapter.upsert(id, { jti: id } as AdapterPayload);
    advance(365 * 24 * 3600);
    expect(await adapter.find(id)).toMatchObject({ jti: id });
  });

  test('goes with its grant, and only with its own', async () => {
    const adapter = adapterOf(model);
    const [gone, kept] = [randomToken(), randomToken()];
    const [grantId, otherGrantId] = [randomToken(), randomToken()];
    await adapter.upsert(gone, payload({ jti: gone, grantId }), 60);
    await adapter.upsert(kept, payload({ jti: kept, grantId: otherGrantId }), 60);
    await adapter.revokeByGrantId(grantId);
    expect(await adapter.find(gone)).toBeUndefined();
    expect(await adapter.find(kept)).toMatchObject({ grantId: otherGrantId });
  });

  test('leaves nothing in the database that could be replayed (SECURITY 57)', async () => {
    const id = randomToken();
    await adapterOf(model).upsert(id, payload({ jti: id, kind: model }), 60);
    const stored = await everythingStored();
    expect(stored).not.toContain(id);
    expect(stored).toContain(sha256(id));
  });

  test('text that PostgreSQL cannot hold is a bad request, not a fault', async () => {
    const adapter = adapterOf(model);
    for (const nonce of ['a\0b', '\ud800']) {
      await expect(adapter.upsert(randomToken(), payload({ nonce }), 60)).rejects.toMatchObject({ statusCode: 400 });
    }
  });
});

describe('revoking', () => {
  test('one token of a grant takes all of them, whatever their model, in one statement', async () => {
    const [grantId, otherGrantId] = [randomToken(), randomToken()];
    const models = ['AccessToken', 'RefreshToken', 'AuthorizationCode'];
    const revocations = [
      (id: string) => adapterOf('RefreshToken').destroy(id),
      (id: string) => adapterOf('AccessToken').destroy(id),
      () => adapterOf('AccessToken').revokeByGrantId(grantId),
    ];
    for (const revoke of revocations) {
      const id = randomToken();
      for (const model of models) {
        await adapterOf(model).upsert(id, payload({ jti: id, grantId }), 60);
        await adapterOf(model).upsert(grantId, payload({ grantId: otherGrantId }), 60);
      }
      await revoke(id);
      for (const model of models) {
        expect(await adapterOf(model).find(id), model).toBeUndefined();
        expect(await adapterOf(model).find(grantId), model).toBeTruthy();
      }
    }
  });

  test('also takes a token that is being used at that moment', async () => {
    const [id, grantId] = [randomToken(), randomToken()];
    const adapter = adapterOf('RefreshToken');
    await adapter.upsert(id, payload({ jti: id, grantId }), 60);
    let revoked: Promise<unknown> = Promise.resolve();
    await database.db.transaction(async (tx) => {
      await createAdapter({ ...dependencies, db: tx as unknown as typeof database.db })('RefreshToken').consume(id);
      revoked = Promise.resolve(adapter.revokeByGrantId(grantId));
      await untilSomebodyWaits();
    });
    await revoked;
    expect(await adapter.find(id)).toBeUndefined();
  });

  test('the same family many times at once does not end in a deadlock', async () => {
    const grantId = randomToken();
    const ids = Array.from({ length: 20 }, () => randomToken());
    await Promise.all(ids.map((id) => adapterOf('RefreshToken').upsert(id, payload({ jti: id, grantId }), 60)));
    await Promise.all(ids.map((id) => adapterOf('RefreshToken').destroy(id)));
    expect(await Promise.all(ids.map((id) => adapterOf('RefreshToken').find(id)))).toEqual(ids.map(() => undefined));
  });
});

/** Resolves once a statement in this database waits for a lock. */
async function untilSomebodyWaits(): Promise<void> {
  const waiting = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  while ((await database.db.execute(waiting)).rows.length === 0);
}

describe.each(consumable)('%s', (model) => {
  test('of parallel uses exactly one succeeds, and the use is seen afterwards', async () => {
    const adapter = adapterOf(model);
    const id = randomToken();
    await adapter.upsert(id, payload({ jti: id }), 60);
    const uses = await Promise.allSettled(Array.from({ length: 8 }, () => adapter.consume(id)));
    expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const use of uses) if (use.status === 'rejected') expect(use.reason).toMatchObject({ statusCode: 400 });
    expect((await adapter.find(id))?.consumed).toBeCloseTo(Date.now() / 1000, -1);
  });

  test('cannot be used when it is unknown or expired', async () => {
    const adapter = adapterOf(model);
    const id = randomToken();
    await expect(adapter.consume(id)).rejects.toMatchObject({ statusCode: 400 });
    await adapter.upsert(id, payload({ jti: id }), 60);
    advance(61);
    await expect(adapter.consume(id)).rejects.toMatchObject({ statusCode: 400 });
  });

  test('saving it again does not make it unused', async () => {
    const adapter = adapterOf(model);
    const id = randomToken();
    await adapter.upsert(id, payload({ jti: id }), 60);
    await adapter.consume(id);
    await adapter.upsert(id, payload({ jti: id, scope: 'x' }), 60);
    expect((await adapter.find(id))?.consumed).toBeTruthy();
  });
});

describe('RefreshToken with a leeway', () => {
  test('may be presented again within it, and is seen as used after it', async () => {
    const adapter = adapterOf('RefreshToken', 10);
    const id = randomToken();
    await adapter.upsert(id, payload({ jti: id }), 600);
    await Promise.all([adapter.consume(id), adapter.consume(id)]);
    expect((await adapter.find(id))?.consumed).toBeUndefined();
    await ageUses({ database }, 11);
    expect((await adapter.find(id))?.consumed).toBeTruthy();
    await expect(adapter.consume(id)).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  test('a repeated use does not prolong the leeway', async () => {
    const adapter = adapterOf('RefreshToken', 10);
    const id = randomToken();
    await adapter.upsert(id, payload({ jti: id }), 600);
    await adapter.consume(id);
    await ageUses({ database }, 8);
    await adapter.consume(id);
    await ageUses({ database }, 4);
    expect((await adapter.find(id))?.consumed).toBeTruthy();
  });
});

describe('ReplayDetection', () => {
  test('of parallel first sightings exactly one is first (SECURITY 42, 43)', async () => {
    const adapter = adapterOf('ReplayDetection');
    const id = randomToken();
    const sightings = Array.from({ length: 8 }, () => adapter.upsert(id, payload({ jti: id, iss: 'c' }), 60));
    const outcomes = await Promise.allSettled(sightings);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('may be seen again once the first sighting has expired', async () => {
    const adapter = adapterOf('ReplayDetection');
    const id = randomToken();
    await adapter.upsert(id, payload({ jti: id, iss: 'c' }), 60);
    advance(61);
    await adapter.upsert(id, payload({ jti: id, iss: 'c' }), 60);
    expect(await adapter.find(id)).toMatchObject({ iss: 'c' });
  });
});

describe('DeviceCode', () => {
  test('is found by the code a person types, with the id under which it is saved again', async () => {
    const adapter = adapterOf('DeviceCode');
    const id = randomToken();
    const userCode = randomToken(6);
    await adapter.upsert(id, payload({ jti: id, userCode }), 60);
    expect(await adapter.findByUserCode(userCode)).toMatchObject({ jti: id, userCode });
    expect(await adapter.findByUserCode('AAAA-BBBB')).toBeUndefined();
  });

  test('says that it has run out to whoever asks later (RFC 8628 §3.5)', async () => {
    const adapter = adapterOf('DeviceCode');
    const id = randomToken();
    await adapter.upsert(id, payload({ jti: id, userCode: randomToken(6) }), 60);
    advance(61);
    expect(await adapter.find(id)).toMatchObject({ jti: id });
    await expect(adapter.consume(id)).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  test('is decided once: of an approval and denials at once, one stands', async () => {
    const adapter = adapterOf('DeviceCode');
    const id = randomToken();
    const code = payload({ jti: id, userCode: randomToken(6) });
    await adapter.upsert(id, code, 60);
    const decisions = [
      { accountId: 'u_1' },
      { error: 'access_denied' },
      { accountId: 'u_2' },
      { error: 'access_denied' },
    ];
    const outcomes = await Promise.allSettled(decisions.map((said) => adapter.upsert(id, { ...code, ...said }, 60)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const stands = decisions[outcomes.findIndex(({ status }) => status === 'fulfilled')];
    const { accountId, error } = (await adapter.find(id)) ?? {};
    expect({ accountId, error }).toEqual({ accountId: undefined, error: undefined, ...stands });
  });
});

describe('Interaction', () => {
  const interaction = (id: string) =>
    payload({
      jti: id,
      kind: 'Interaction',
      returnTo: `https://op.example/oidc/auth/${id}`,
      prompt: { name: 'login', reasons: ['no_session'], details: {} },
      params: { client_id: 'c', scope: 'openid' },
      session: { accountId: 'u_1', uid: 'session-uid', cookie: 'raw-session-id' },
      deviceCode: 'raw-device-code',
      parJti: 'raw-request-uri',
      cid: 'x',
    });

  test('comes back whole, but for the session cookie that nobody reads', async () => {
    const adapter = adapterOf('Interaction');
    const id = randomToken();
    const stored = interaction(id);
    await adapter.upsert(id, { ...stored }, 60);
    expect(await adapter.find(id)).toEqual({ ...stored, session: { accountId: 'u_1', uid: 'session-uid' } });
  });

  test('is stored without any raw id', async () => {
    const id = randomToken();
    await adapterOf('Interaction').upsert(id, interaction(id), 60);
    const stored = await everythingStored();
    for (const raw of [id, 'raw-session-id', 'raw-device-code', 'raw-request-uri']) expect(stored).not.toContain(raw);
  });

  test('once finished it is absent, and a late write does not bring it back', async () => {
    const adapter = adapterOf('Interaction');
    const id = randomToken();
    await adapter.upsert(id, interaction(id), 60);
    await adapter.destroy(id);
    await adapter.upsert(id, interaction(id), 60);
    expect(await adapter.find(id)).toBeUndefined();
  });
});

describe('Session', () => {
  const session = (uid: string, extra: Record<string, unknown> = {}) =>
    payload({ uid, kind: 'Session', accountId: 'u_1', loginTs: 1000, ...extra });

  test('is found by its cookie value and by its uid', async () => {
    const adapter = adapterOf('Session');
    const [id, uid] = [randomToken(), randomToken()];
    const stored = session(uid);
    await adapter.upsert(id, stored, 60);
    expect(await adapter.find(id)).toEqual({ ...stored, jti: id });
    expect(await adapter.findByUid(uid)).toEqual(stored);
    advance(61);
    expect(await adapter.find(id)).toBeUndefined();
    expect(await adapter.findByUid(uid)).toBeUndefined();
  });

  test('two clients authorised at once are both kept', async () => {
    const adapter = adapterOf('Session');
    const [id, uid] = [randomToken(), randomToken()];
    await adapter.upsert(id, session(uid), 60);
    const held = (client: string) => ({ authorizations: { [client]: { sid: `s-${client}`, grantId: `g-${client}` } } });
    await Promise.all(['a', 'b', 'c'].map((client) => adapter.upsert(id, session(uid, held(client)), 60)));
    expect(Object.keys((await adapter.find(id))?.authorizations ?? {}).sort()).toEqual(['a', 'b', 'c']);
  });

  test('what one client holds is merged member by member', async () => {
    const adapter = adapterOf('Session');
    const [id, uid] = [randomToken(), randomToken()];
    await adapter.upsert(id, session(uid, { authorizations: { a: { sid: '1', grantId: 'g' } } }), 60);
    await adapter.upsert(id, session(uid, { authorizations: { a: { sid: '1', persistsLogout: true } } }), 60);
    expect((await adapter.find(id))?.authorizations).toEqual({ a: { sid: '1', grantId: 'g', persistsLogout: true } });
  });

  test('an ended session is not brought back by a request that was under way', async () => {
    const adapter = adapterOf('Session');
    const [id, uid] = [randomToken(), randomToken()];
    await adapter.upsert(id, session(uid), 60);
    await adapter.destroy(id);
    await adapter.upsert(id, session(uid), 60);
    await adapter.upsert(randomToken(), session(uid), 60);
    expect(await adapter.find(id)).toBeUndefined();
    expect(await adapter.findByUid(uid)).toBeUndefined();
  });

  test('a request that read the session before somebody else signed in does not bring the first person back', async () => {
    const adapter = adapterOf('Session');
    const [id, uid] = [randomToken(), randomToken()];
    await adapter.upsert(id, session(uid, { authorizations: { a: { grantId: 'g' } } }), 60);
    const second = session(uid, { accountId: 'u_2', loginTs: 2000 });
    await adapter.upsert(id, second, 60);
    await adapter.upsert(id, session(uid, { authorizations: { a: { grantId: 'g' } } }), 60);
    expect(await adapter.find(id)).toEqual({ ...second, jti: id });
  });

  test('a late write of the same person keeps the newer sign-in', async () => {
    const adapter = adapterOf('Session');
    const [id, uid] = [randomToken(), randomToken()];
    await adapter.upsert(id, session(uid, { loginTs: 2000, amr: ['pwd', 'otp'] }), 60);
    await adapter.upsert(
      id,
      session(uid, { loginTs: 1000, amr: ['pwd'], authorizations: { a: { grantId: 'g' } } }),
      60,
    );
    expect(await adapter.find(id)).toMatchObject({ loginTs: 2000, amr: ['pwd', 'otp'], authorizations: { a: {} } });
  });

  test('ending by one cookie value ends all of them', async () => {
    const adapter = adapterOf('Session');
    const [id, newer, uid] = [randomToken(), randomToken(), randomToken()];
    await adapter.upsert(id, session(uid), 60);
    await adapter.upsert(newer, session(uid), 60);
    await adapter.destroy(id);
    expect(await adapter.find(newer)).toBeUndefined();
  });

  test('the cookie value is stored as a hash only', async () => {
    const id = randomToken();
    await adapterOf('Session').upsert(id, session(randomToken()), 60);
    expect(await everythingStored()).not.toContain(id);
  });
});

test('a database that cannot answer is 503', async () => {
  const down = openDatabase('postgres://nobody@127.0.0.1:1/none');
  const adapter = createAdapter({
    db: down.db,
    encryption,
    refreshTokenLeewaySeconds: 0,
    clients: { find: async () => undefined, markUsed: async () => {} },
  })('AccessToken');
  await expect(adapter.find('x')).rejects.toMatchObject({ statusCode: 503 });
  await down.close();
});

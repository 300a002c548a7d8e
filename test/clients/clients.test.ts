import { eq } from 'drizzle-orm';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  fullMetadata,
  isUnverified,
  libraryPayload,
  publicFacts,
  secretHashes,
} from '../../src/clients/client-facts.ts';
import {
  type Client,
  deleteClient,
  findClient,
  listClients,
  registerClient,
  rotateClientSecret,
  updateClient,
} from '../../src/clients/clients.ts';
import {
  consumeInitialAccessToken,
  createInitialAccessToken,
  isInitialAccessTokenUsable,
} from '../../src/clients/initial-access-tokens.ts';
import { clientLogos, consents, initialAccessTokens, oidcClients, oidcGrants, users } from '../../src/db/schema.ts';
import { sha256 } from '../../src/lib/hash.ts';
import { useClients } from './fixture.ts';

const clients = useClients();
const minimal = { client_name: 'Fernwood Library', redirect_uris: ['https://fernwood.example/callback'] };

function register(metadata: object = {}, options: Partial<Parameters<typeof registerClient>[3]> = {}) {
  return registerClient(clients.db, clients, { ...minimal, ...metadata }, { registeredBy: 'operator', ...options });
}

afterEach(() => {
  vi.useRealTimers();
});

describe('at rest', () => {
  test('a secret is bcrypt, a registration access token SHA-256, and neither is anywhere in clear', async () => {
    const { client, clientSecret, registrationAccessToken } = await register();
    const [row] = await clients.db.select().from(oidcClients).where(eq(oidcClients.clientId, client.clientId));
    expect(row?.secretHash).toMatch(/^\$2b\$04\$.{53}$/);
    expect(row?.registrationTokenHash).toBe(sha256(registrationAccessToken));
    expect(JSON.stringify(row)).not.toContain(clientSecret);
    expect(JSON.stringify(row)).not.toContain(registrationAccessToken);
    expect(row?.metadata).not.toHaveProperty('client_secret');
    expect(row?.metadata).not.toHaveProperty('client_id');
  });

  test('a client without a secret has none', async () => {
    const { client, ...shown } = await register({ token_endpoint_auth_method: 'none' });
    expect(client.secretHash).toBeNull();
    expect(shown).not.toHaveProperty('clientSecret');
  });

  test('a client id is new each time and no account id', async () => {
    const [one, two] = [await register(), await register()];
    expect(one.client.clientId).toMatch(/^c_[\w-]{22}$/);
    expect(one.client.clientId).not.toBe(two.client.clientId);
  });
});

describe('what others are told', () => {
  test('the public facts are six at most', async () => {
    const links = {
      client_uri: 'https://a.example/',
      policy_uri: 'https://a.example/p',
      tos_uri: 'https://a.example/t',
    };
    const { client } = await register({ ...links, logo_uri: 'https://a.example/logo.png', contacts: ['a@a.example'] });
    expect(publicFacts(client)).toEqual({
      client_id: client.clientId,
      client_name: 'Fernwood Library',
      ...links,
      logo_uri: 'https://a.example/logo.png',
    });
  });

  test('the full metadata has every default and the time of registration, and no secret', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-11-21T08:00:00Z') });
    const { client } = await register();
    const full = fullMetadata(client);
    expect(full).toMatchObject({
      client_id: client.clientId,
      client_id_issued_at: 1795248000,
      grant_types: ['authorization_code'],
    });
    expect(JSON.stringify(full)).not.toMatch(/secret"|\$2b\$|first_party|registration/);
  });

  test('the library gets no hash, and the same payload each time', async () => {
    const { client, clientSecret } = await register();
    const payload = libraryPayload(client);
    expect(payload).toMatchObject({ client_id: client.clientId, first_party: false, unverified: false });
    expect(payload.client_secret).toMatch(/^[\w-]{43}$/);
    expect([clientSecret, client.secretHash]).not.toContain(payload.client_secret);
    expect(libraryPayload(client)).toEqual(payload);
    await expect(clients.validate(payload)).resolves.toMatchObject({ client_id: client.clientId });
    const open = await register({ token_endpoint_auth_method: 'none' });
    expect(libraryPayload(open.client)).not.toHaveProperty('client_secret');
  });

  test('a client is unverified when nobody vouched for it', async () => {
    const verified = async (options: Parameters<typeof register>[1]) =>
      !isUnverified((await register({}, options)).client);
    expect(await verified({ registeredBy: 'open' })).toBe(false);
    expect(await verified({ registeredBy: 'token' })).toBe(true);
    expect(await verified({ registeredBy: 'operator' })).toBe(true);
    expect(await verified({ registeredBy: 'open', firstParty: true })).toBe(true);
  });
});

test('there is no client by an id that the database cannot compare', async () => {
  for (const id of ['', 'c_unknown', 'c_\0', '\ud800', 'c_é', 'x'.repeat(10_000)]) {
    expect(await findClient(clients.db, id)).toBeUndefined();
  }
});

test('clients are listed from the oldest on, page by page', async () => {
  await clients.db.delete(oidcClients);
  vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 });
  const made: string[] = [];
  for (const at of [1_000_000, 1_000_000, 1_000_000, 2_000_000, 3_000_000]) {
    vi.setSystemTime(at);
    made.push((await register()).client.clientId);
  }
  const seen: Client[] = [];
  for (let page: Client[] = []; ; ) {
    page = await listClients(clients.db, { limit: 2, after: seen.at(-1) });
    if (page.length === 0) break;
    expect(page.length).toBeLessThanOrEqual(2);
    seen.push(...page);
  }
  expect(seen.map(({ clientId }) => clientId).slice(3)).toEqual(made.slice(3));
  expect(seen.map(({ clientId }) => clientId).sort()).toEqual(made.sort());
});

describe('an update', () => {
  const update = (clientId: string, body: object, options = {}) =>
    updateClient(clients.db, clients, clientId, { client_id: clientId, ...minimal, ...body }, options);

  test('replaces everything: what is left out is gone', async () => {
    const { client } = await register({ tos_uri: 'https://fernwood.example/tos', require_pkce: true });
    const updated = await update(client.clientId, { client_name: 'Fernwood' });
    expect(updated?.client.metadata).toMatchObject({ client_name: 'Fernwood' });
    expect(updated?.client.metadata).not.toHaveProperty('tos_uri');
    expect(updated?.client.metadata).not.toHaveProperty('require_pkce');
    expect(await findClient(clients.db, client.clientId)).toEqual(updated?.client);
  });

  test('keeps the secret, also when it is sent along', async () => {
    const { client, clientSecret } = await register();
    const updated = await update(client.clientId, { client_secret: clientSecret });
    expect(updated).not.toHaveProperty('clientSecret');
    expect(updated?.client.secretHash).toBe(client.secretHash);
  });

  test.each([
    ['another client_id', { client_id: 'c_other' }],
    ['no client_id', { client_id: undefined }],
    ['a secret of its own choice', { client_secret: 'chosen' }],
    ['a secret that is no text', { client_secret: { $ne: 1 } }],
    ['registration_access_token', { registration_access_token: 'x' }],
    ['registration_client_uri', { registration_client_uri: 'https://x.example/' }],
    ['client_secret_expires_at', { client_secret_expires_at: 0 }],
    ['client_id_issued_at', { client_id_issued_at: 0 }],
  ])('with %s is refused (RFC 7592 §2.2)', async (_what, body) => {
    const { client } = await register();
    const refused = update(client.clientId, body);
    await expect(refused).rejects.toMatchObject({ status: 400, code: 'invalid_request' });
    expect(await findClient(clients.db, client.clientId)).toEqual(client);
  });

  test('that makes a public client confidential brings it a secret', async () => {
    const { client } = await register({ token_endpoint_auth_method: 'none' });
    const updated = await update(client.clientId, { token_endpoint_auth_method: 'client_secret_post' });
    expect(updated?.clientSecret).toMatch(/^[\w-]{43}$/);
    const hash = updated?.client.secretHash ?? '';
    expect(await clients.bcrypt.compare(updated?.clientSecret ?? '', hash)).toBe(true);
  });

  test('that makes a confidential client public takes all its secrets', async () => {
    const { client } = await register();
    await rotateClientSecret(clients.db, clients, client.clientId, 60);
    const updated = await update(client.clientId, { token_endpoint_auth_method: 'none' });
    expect(updated?.client).toMatchObject({
      secretHash: null,
      previousSecretHash: null,
      previousSecretExpiresAt: null,
    });
  });

  test('says whether the client is the operator’s own only when told to', async () => {
    const { client } = await register();
    expect((await update(client.clientId, {}, { firstParty: true }))?.client.firstParty).toBe(true);
    expect((await update(client.clientId, { first_party: false }))?.client.firstParty).toBe(true);
    expect((await update(client.clientId, {}, { firstParty: false }))?.client.firstParty).toBe(false);
  });

  test('of a client that is not there is undefined', async () => {
    expect(await update('c_unknown', {})).toBeUndefined();
  });
});

describe('a new secret', () => {
  test('ends the old one at once', async () => {
    const { client } = await register();
    const rotated = await rotateClientSecret(clients.db, clients, client.clientId, 0);
    const hashes = secretHashes(rotated?.client as Client);
    expect(hashes).toHaveLength(1);
    expect(hashes).not.toContain(client.secretHash);
    expect(await clients.bcrypt.compare(rotated?.clientSecret ?? '', hashes[0] ?? '')).toBe(true);
  });

  test('leaves the old one the time of grace, and none to the one before that', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 });
    const { client } = await register();
    const second = (await rotateClientSecret(clients.db, clients, client.clientId, 60))?.client as Client;
    expect(secretHashes(second)).toEqual([second.secretHash, client.secretHash]);
    vi.setSystemTime(1_000_000 + 60_000);
    expect(secretHashes(second)).toEqual([second.secretHash]);
    const third = (await rotateClientSecret(clients.db, clients, client.clientId, 60))?.client as Client;
    expect(secretHashes(third)).toEqual([third.secretHash, second.secretHash]);
  });

  test('is for clients that have one', async () => {
    const { client } = await register({ token_endpoint_auth_method: 'none' });
    expect(await rotateClientSecret(clients.db, clients, client.clientId, 0)).toBeUndefined();
    expect(await rotateClientSecret(clients.db, clients, 'c_unknown', 0)).toBeUndefined();
  });
});

test('deleting a client deletes what was issued to it and allowed to it, and nothing else', async () => {
  const { db } = clients;
  const [gone, stays] = [(await register()).client.clientId, (await register()).client.clientId];
  await db.insert(users).values({ id: 'u_1', email: 'a@a.example', emailNormalized: 'a@a.example', name: 'A' });
  for (const clientId of [gone, stays]) {
    await db.insert(oidcGrants).values({ model: 'AccessToken', id: clientId, clientId, payload: {} });
    await db.insert(consents).values({ accountId: 'u_1', clientId });
    await db.insert(clientLogos).values({ clientId, sourceUri: 'https://a.example/', fetchedAt: new Date() });
  }
  expect(await deleteClient(db, gone)).toBe(true);
  expect(await deleteClient(db, gone)).toBe(false);
  expect(await findClient(db, gone)).toBeUndefined();
  for (const table of [oidcGrants, consents, clientLogos]) {
    const rows = await db.select({ clientId: table.clientId }).from(table);
    expect(rows).toEqual([{ clientId: stays }]);
  }
});

describe('an initial access token', () => {
  test('is kept as SHA-256', async () => {
    const token = await createInitialAccessToken(clients.db, { label: 'partners' });
    const [row] = await clients.db.select().from(initialAccessTokens).where(eq(initialAccessTokens.label, 'partners'));
    expect(row).toMatchObject({ tokenHash: sha256(token), usesLeft: null, expiresAt: null });
    expect(await consumeInitialAccessToken(clients.db, token)).toBe(true);
    expect(await consumeInitialAccessToken(clients.db, token)).toBe(true);
  });

  test('gives no more uses than it has, however many come at once', async () => {
    const token = await createInitialAccessToken(clients.db, { uses: 3 });
    const answers = await Promise.all(Array.from({ length: 10 }, () => consumeInitialAccessToken(clients.db, token)));
    expect(answers.filter(Boolean)).toHaveLength(3);
    expect(await isInitialAccessTokenUsable(clients.db, token)).toBe(false);
  });

  test('ends at its time', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 });
    const token = await createInitialAccessToken(clients.db, { expiresAt: new Date(2_000_000) });
    expect(await isInitialAccessTokenUsable(clients.db, token)).toBe(true);
    vi.setSystemTime(2_000_000);
    expect(await isInitialAccessTokenUsable(clients.db, token)).toBe(false);
    expect(await consumeInitialAccessToken(clients.db, token)).toBe(false);
  });

  test('loses no use to a registration that is refused', async () => {
    const token = await createInitialAccessToken(clients.db, { uses: 1 });
    const options = { registeredBy: 'token', initialAccessToken: token } as const;
    await expect(register({ redirect_uris: ['javascript:x'] }, options)).rejects.toMatchObject({ status: 400 });
    await expect(register({}, options)).resolves.toHaveProperty('client');
    await expect(register({}, options)).rejects.toMatchObject({ status: 401, code: 'invalid_token' });
  });
});

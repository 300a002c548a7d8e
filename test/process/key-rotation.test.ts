/** Two server processes, asked for ID tokens all the while: keys rotate, a server dies in between, and every token verifies. */
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEncryption } from '../../src/keys/encryption.ts';
import { keyAlgorithms } from '../../src/keys/key-pairs.ts';
import { ringKeys, rotateKeys } from '../../src/keys/key-ring.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { freePort } from '../support/listen.ts';
import { discover, registerAccount, registerClient, signInThrough } from '../support/relying-party.ts';
import { type ServerProcess, sharedSecrets, startServer } from '../support/server.ts';

let database: OpenTestDatabase;
let servers: ServerProcess[];
const start = (port: number) =>
  startServer({
    port,
    env: { ...sharedSecrets, DATABASE_URL: database.url, OIDC_ISSUER: issuer, REFRESH_TOKEN_LEEWAY: '0' },
  });
let issuer: string;

beforeAll(async () => {
  database = await openTestDatabase();
  const ports = [await freePort(), await freePort()];
  issuer = `http://127.0.0.1:${ports[0]}`;
  servers = await Promise.all(ports.map(start));
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  await database.close();
});

const encryption = createEncryption([Buffer.from(sharedSecrets.OIDC_ENCRYPTION_KEY, 'base64')]);
const rotate = () => rotateKeys(database.db, encryption, keyAlgorithms);
const signing = async () =>
  (await ringKeys(database.db)).filter(({ state }) => state === 'current').map(({ kid }) => kid);

async function publishedAt({ port }: ServerProcess): Promise<string[]> {
  const { keys } = (await (await fetch(`http://127.0.0.1:${port}/oidc/jwks`)).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid);
}

/** Keys that were fetched once and are kept for the whole rotation, whatever the token says. */
async function cachedKeys({ port }: ServerProcess) {
  const url = new URL(`http://127.0.0.1:${port}/oidc/jwks`);
  const keys = createRemoteJWKSet(url, { cacheMaxAge: Number.POSITIVE_INFINITY, cooldownDuration: 3_600_000 });
  await keys.reload();
  return keys;
}

/** Refreshes at one server again and again, and verifies each ID token with `keys`, which may change meanwhile. */
async function constantLoad({ port }: ServerProcess, alg: string, keys: Awaited<ReturnType<typeof cachedKeys>>[]) {
  const server = { origin: issuer, issuer: `${issuer}/oidc` };
  const registration = await registerClient(server, { id_token_signed_response_alg: alg });
  const { client_id, client_secret = '' } = registration;
  const account = await registerAccount(server);
  const parameters = { scope: 'openid offline_access', prompt: 'consent' };
  const { tokens } = await signInThrough(server, await discover(server, registration), account, { parameters });
  let refreshToken = tokens.refresh_token ?? '';
  const signedBy: string[] = [];
  let stopped = false;
  const done = (async () => {
    while (!stopped) {
      const response = await fetch(`http://127.0.0.1:${port}/oidc/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken }),
        headers: { authorization: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}` },
      });
      const answer = (await response.json()) as { refresh_token: string; id_token: string };
      expect(response.status, JSON.stringify(answer)).toBe(200);
      refreshToken = answer.refresh_token;
      for (const set of keys) {
        const { protectedHeader } = await jwtVerify(answer.id_token, set, { issuer: server.issuer });
        signedBy.push(protectedHeader.kid ?? '');
      }
      // The token endpoint takes 600 requests a minute from one address.
      await delay(40);
    }
  })();
  done.catch(() => {});
  return {
    signedBy,
    stop() {
      stopped = true;
      return done;
    },
  };
}

/** All servers publish what the ring holds, and have done so for as long as a key must wait. */
async function waited(): Promise<void> {
  const ring = (await ringKeys(database.db)).map(({ kid }) => kid);
  for (const server of servers) await expect.poll(() => publishedAt(server), { timeout: 20_000 }).toEqual(ring);
  await database.db.execute(
    sql`update signing_keys set created_at = created_at - interval '1 hour' where state = 'next'`,
  );
}

test('rotation under constant load, a server killed in the middle of it: not one token fails (SECURITY 58)', {
  timeout: 90_000,
}, async () => {
  const [first, second] = servers as [ServerProcess, ServerProcess];
  expect(await rotate(), 'the RSA key that waits is new').toHaveProperty('tooEarly');
  await waited();
  const keys = await Promise.all(servers.map(cachedKeys));
  const loads = await Promise.all([constantLoad(first, 'ES256', keys), constantLoad(first, 'RS256', keys)]);
  const atSecond = await constantLoad(second, 'EdDSA', keys);

  expect(await rotate()).toHaveProperty('rotated');
  const now = await signing();
  await expect.poll(() => atSecond.signedBy.some((kid) => now.includes(kid)), { timeout: 20_000 }).toBe(true);
  await atSecond.stop();

  await waited();
  keys.splice(0, 2, ...(await Promise.all(servers.map(cachedKeys))));
  const [outcome] = await Promise.all([rotate(), second.kill9()]);
  expect(outcome).toHaveProperty('rotated');
  const later = await signing();
  expect(later.filter((kid) => now.includes(kid))).toEqual([]);
  servers[1] = await start(second.port);
  expect(await publishedAt(servers[1])).toEqual((await ringKeys(database.db)).map(({ kid }) => kid));
  for (const load of loads) {
    await expect.poll(() => load.signedBy.some((kid) => later.includes(kid)), { timeout: 20_000 }).toBe(true);
    await load.stop();
    expect(load.signedBy.some((kid) => now.includes(kid))).toBe(true);
  }
});

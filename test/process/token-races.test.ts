/** Eight at once at the token endpoint of two servers on one database: what may be had once is had once. */

import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApi } from '../../src/apis/apis.ts';
import { allowApi } from '../../src/apis/client-access.ts';
import { permitExchange } from '../../src/apis/token-exchange-permissions.ts';
import { accessTokenType, tokenExchange } from '../apis/exchange.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { createProofKey } from '../support/dpop.ts';
import { type Instances, startInstances } from '../support/instances.ts';
import { createPerson } from '../support/person.ts';
import {
  allow,
  discover,
  type Registration,
  type RelyingParty,
  registerAccount,
  registerClient,
  signIn,
} from '../support/relying-party.ts';

const api = 'https://api.example/';

let database: OpenTestDatabase;
let provider: Instances;
let registration: Registration;
let rp: RelyingParty;
let account: Awaited<ReturnType<typeof registerAccount>>;

beforeAll(async () => {
  database = await openTestDatabase();
  provider = await startInstances(database);
  registration = await registerClient(provider);
  rp = await discover(provider, registration);
  account = await registerAccount(provider);
});
afterAll(async () => {
  await provider.stop();
  await database.close();
});

type Answer = { status: number; body: Record<string, unknown> };

/** The same request eight times at once; `client` authenticates by its secret. */
function eight(
  parameters: Record<string, string>,
  { client = registration, headers = {} }: { client?: Partial<Registration>; headers?: Record<string, string> } = {},
): Promise<Answer[]> {
  const { client_id = '', client_secret } = client;
  const body = new URLSearchParams({ ...parameters, client_id, ...(client_secret && { client_secret }) });
  return Promise.all(
    Array.from({ length: 8 }, async () => {
      const response = await fetch(`${provider.issuer}/token`, { method: 'POST', body, headers });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    }),
  );
}

const statuses = (answers: Answer[]) => answers.map(({ status }) => status).sort();
const one = (lost = 400) => [200, ...Array(7).fill(lost)].sort();

/** As far as the code, for a person who allows the client to stay connected. */
async function untilCode() {
  const person = createPerson(provider.origin);
  const request = await rp.start({ scope: 'openid offline_access', prompt: 'consent' });
  const page = await allow(person, await signIn(person, await person.open(request.url), account));
  return { request, callback: page.left as URL };
}

test('redemptions of one code: one wins (SECURITY 12)', async () => {
  for (let round = 0; round < 3; round += 1) {
    const { request, callback } = await untilCode();
    const answers = await eight({
      grant_type: 'authorization_code',
      code: callback.searchParams.get('code') ?? '',
      redirect_uri: `${provider.origin}/callback`,
      code_verifier: request.verifier,
    });
    expect(statuses(answers)).toEqual(one());
  }
});

test('refreshes within the leeway: all win, and are one family', async () => {
  const { request, callback } = await untilCode();
  const { refresh_token = '' } = await request.finish(callback);
  const answers = await eight({ grant_type: 'refresh_token', refresh_token });
  expect(statuses(answers)).toEqual(Array(8).fill(200));
  const tokens = answers.map(({ body }) => String(body.access_token));
  await Promise.all(tokens.map((token) => rp.userinfo(token, account.sub)));
  await rp.revoke(String(answers[0]?.body.refresh_token));
  const active = await Promise.all(tokens.map(async (token) => (await rp.introspect(token)).active));
  expect(active).toEqual(Array(8).fill(false));
});

test('identical client assertions: one is accepted (SECURITY 42)', async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const { client_id } = await registerClient(provider, {
    redirect_uris: undefined,
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig' }] },
  });
  for (let round = 0; round < 3; round += 1) {
    const client_assertion = await new SignJWT({ jti: `round-${round}` })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer(client_id)
      .setSubject(client_id)
      .setAudience(provider.issuer)
      .setIssuedAt()
      .setExpirationTime('1m')
      .sign(privateKey);
    const answers = await eight(
      {
        grant_type: 'client_credentials',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion,
      },
      { client: { client_id } },
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 400 || status === 401)).toHaveLength(7);
  }
});

test('identical DPoP proofs: one is accepted (SECURITY 43)', async () => {
  const client = await registerClient(provider, { redirect_uris: undefined, grant_types: ['client_credentials'] });
  const key = await createProofKey();
  for (let round = 0; round < 3; round += 1) {
    const headers = { dpop: await key.prove(`${provider.issuer}/token`) };
    expect(statuses(await eight({ grant_type: 'client_credentials' }, { client, headers }))).toEqual(one());
  }
});

test('exchanges of one token: all win, each with its record', async () => {
  await createApi(database.db, { identifier: api, name: 'Any', tokenFormat: 'opaque' });
  const service = await registerClient(provider, {
    redirect_uris: undefined,
    grant_types: ['client_credentials', tokenExchange],
  });
  const clientId = service.client_id;
  await allowApi(database.db, clientId, api, {});
  await permitExchange(database.db, { clientId, subjectApi: api, targetApi: api, mode: 'delegation' });
  const [first] = await eight({ grant_type: 'client_credentials', resource: api }, { client: service });
  const answers = await eight(
    {
      grant_type: tokenExchange,
      subject_token: String(first?.body.access_token),
      subject_token_type: accessTokenType,
      resource: api,
    },
    { client: service },
  );
  expect(statuses(answers)).toEqual(Array(8).fill(200));
  expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(8);
  const { rowCount } = await database.pool.query("select from audit_events where event = 'token.exchanged'");
  expect(rowCount).toBe(8);
});

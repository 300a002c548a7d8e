/** Whose refresh tokens are rotated, and to which key one is bound. */
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { refreshAbsoluteSeconds, refreshIdleSeconds } from '../../src/oidc/refresh-tokens.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { createProofKey, type ProofKey } from '../support/dpop.ts';
import { type Registration, registerClient } from '../support/relying-party.ts';
import {
  advance,
  ageUses,
  issueCode,
  issueTokens,
  post,
  refresh,
  type SignedIn,
  signedInPerson,
  type Tokens,
} from './protocol.ts';

let app: TestApp;
let signedIn: SignedIn;

beforeAll(async () => {
  app = await startApp();
  signedIn = await signedInPerson(app);
});
afterAll(() => app.close());
afterEach(() => {
  vi.useRealTimers();
});

async function registration(metadata: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${app.origin}/clients`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris: [`${app.origin}/callback`], ...metadata }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe('a confidential client with rotate_refresh_token false', () => {
  test('keeps its refresh token', async () => {
    const client = await registerClient(app, { rotate_refresh_token: false });
    const { refresh_token } = await issueTokens(app, client, signedIn);
    for (let use = 0; use < 3; use += 1) {
      advance(3600);
      const { status, body } = await refresh(app, client, refresh_token);
      expect([status, body.refresh_token]).toEqual([200, refresh_token]);
    }
  });

  test('keeps it until the absolute end, used or not (SECURITY 20)', async () => {
    const client = await registerClient(app, { rotate_refresh_token: false });
    const { refresh_token } = await issueTokens(app, client, signedIn);
    advance(refreshIdleSeconds + 60);
    expect((await refresh(app, client, refresh_token)).status).toBe(200);
    advance(refreshAbsoluteSeconds - refreshIdleSeconds - 180);
    expect((await refresh(app, client, refresh_token)).status).toBe(200);
    advance(180);
    expect(await refresh(app, client, refresh_token)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test('rotates from the next use on when the policy is taken back', async () => {
    const client = await registerClient(app, { rotate_refresh_token: false });
    const { refresh_token } = await issueTokens(app, client, signedIn);
    await app.database.db.execute(
      sql`update oidc_clients set metadata = metadata - 'rotate_refresh_token' where client_id = ${client.client_id}`,
    );
    const { body } = await refresh(app, client, refresh_token);
    expect(body.refresh_token).toBeTruthy();
    expect(body.refresh_token).not.toBe(refresh_token);
  });
});

test('a client that comes under FAPI 2.0 has no leeway left, and its tokens stay as they are', async () => {
  const client = await registerClient(app);
  const key = await createProofKey();
  const using = async (refresh_token: string) => {
    const headers = { dpop: await key.prove(`${app.issuer}/token`) };
    return post(app, 'token', { grant_type: 'refresh_token', refresh_token }, client, headers);
  };
  const [family, other] = [await issueTokens(app, client, signedIn), await issueTokens(app, client, signedIn)];
  const rotated = await using(family.refresh_token);
  expect(rotated.body.refresh_token).not.toBe(family.refresh_token);
  const setting = JSON.stringify({ fapi_profile: '2.0_security', dpop_bound_access_tokens: true });
  await app.database.db.execute(
    sql`update oidc_clients set metadata = metadata || ${setting}::jsonb where client_id = ${client.client_id}`,
  );
  const kept = await using(other.refresh_token);
  expect([kept.status, kept.body.refresh_token], JSON.stringify(kept.body)).toEqual([200, other.refresh_token]);
  expect(await using(family.refresh_token)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  expect((await using(String(rotated.body.refresh_token))).status, 'the family is at its end').toBe(400);
});

test.each([
  ['of a public client', { token_endpoint_auth_method: 'none', rotate_refresh_token: false }, /public client/],
  ['that is no boolean', { rotate_refresh_token: 'no' }, /boolean/],
])('rotate_refresh_token %s is refused', async (_what, metadata, said) => {
  const { status, body } = await registration(metadata);
  expect([status, body.error]).toEqual([400, 'invalid_client_metadata']);
  expect(body.error_description).toMatch(said);
});

test('a client that becomes public loses the exception', async () => {
  const created = await registration({ rotate_refresh_token: false });
  const response = await fetch(String(created.body.registration_client_uri), {
    method: 'PUT',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${created.body.registration_access_token}`,
    },
    body: JSON.stringify({
      client_id: created.body.client_id,
      redirect_uris: [`${app.origin}/callback`],
      rotate_refresh_token: false,
      token_endpoint_auth_method: 'none',
    }),
  });
  expect(response.status).toBe(400);
});

describe('of a public client that proves a key (DPoP, SECURITY 43)', () => {
  let client: Registration;
  let key: ProofKey;

  beforeAll(async () => {
    client = await registerClient(app, { token_endpoint_auth_method: 'none' });
    key = await createProofKey();
  });

  async function token(parameters: Record<string, string | undefined>, proof?: string) {
    return post(app, 'token', parameters, client, proof === undefined ? {} : { dpop: proof });
  }

  const prove = (by: ProofKey) => by.prove(`${app.issuer}/token`);

  async function issueBound(): Promise<Tokens> {
    const issued = await issueCode(app, client, signedIn, {
      scope: 'openid profile offline_access',
      prompt: 'consent',
    });
    const { status, body } = await token(
      {
        grant_type: 'authorization_code',
        code: issued.code,
        redirect_uri: issued.redirectUri,
        code_verifier: issued.verifier,
      },
      await prove(key),
    );
    expect([status, body.token_type], JSON.stringify(body)).toEqual([200, 'DPoP']);
    return body as Tokens;
  }

  const using = (refresh_token: string) => ({ grant_type: 'refresh_token', refresh_token });

  test('it is good for who has that key only, and so is every next one', async () => {
    let { refresh_token } = await issueBound();
    const thief = await createProofKey();
    for (let rotation = 0; rotation < 3; rotation += 1) {
      for (const proof of [undefined, await prove(thief)]) {
        const { status, body } = await token(using(refresh_token), proof);
        expect([status, body.error]).toEqual([400, 'invalid_grant']);
      }
      const { status, body } = await token(using(refresh_token), await prove(key));
      expect([status, body.token_type], JSON.stringify(body)).toEqual([200, 'DPoP']);
      refresh_token = String(body.refresh_token);
    }
  });

  test('who has a rotated one without the key cannot even end the family', async () => {
    const first = await issueBound();
    const { body } = await token(using(first.refresh_token), await prove(key));
    await ageUses(app, 11);
    const thief = await createProofKey();
    for (const proof of [undefined, await prove(thief)])
      expect((await token(using(first.refresh_token), proof)).status).toBe(400);
    expect((await token(using(String(body.refresh_token)), await prove(key))).status).toBe(200);
  });

  test('a proof works once', async () => {
    const { refresh_token } = await issueBound();
    const proof = await prove(key);
    const first = await token(using(refresh_token), proof);
    expect(first.status).toBe(200);
    const again = await token(using(String(first.body.refresh_token)), proof);
    expect([again.status, again.body.error]).toEqual([400, 'invalid_grant']);
  });
});

/** FAPI 2.0 Security Profile, the modules about tokens: DPoP, the token endpoint, client assertions. */
import { describe, expect, test } from 'vitest';
import { ath, createProofKey } from '../support/dpop.ts';
import { expectRefused, expectTokens, verifyIdToken } from './expectations.ts';
import {
  authenticateAs,
  callResource,
  complete,
  epoch,
  exchange,
  expectBoundTokens,
  expectPushed,
  newFapiRequest,
  newParty,
  obtainCode,
  open,
  type Party,
  proofFor,
  push,
  readResponse,
  rsaKeys,
  type Variant,
  withAssertion,
} from './fapi2-party.ts';
import { expectNotPushed, expectResourceRefused, type Plan } from './fapi2-plan.ts';
import { passTime } from './harness.ts';
import { post, send } from './http.ts';

const prefix = 'fapi2-security-profile-final';
const unbound = ['invalid_grant', 'invalid_request', 'invalid_dpop_proof'];

export function testDPoPModules(plan: Plan): void {
  const newRequest = (changes = {}) => newFapiRequest(plan.suite, plan.party, changes);

  /** A sign-in whose every proof says `claims` too. */
  async function completeWithProofs(claims: () => Record<string, unknown>): Promise<void> {
    const { suite, party, person } = plan;
    const { token_endpoint, userinfo_endpoint } = suite.metadata;
    const { request, code } = await obtainCode(suite, party, { person });
    const headers = await proofFor(suite, party, token_endpoint, claims());
    const tokens = expectBoundTokens(suite, await exchange(suite, party, request, code, {}, headers));
    const said = { htm: 'GET', ath: ath(tokens.access_token), ...claims() };
    const proof = await proofFor(suite, party, userinfo_endpoint, said);
    expect((await callResource(suite, party, tokens.access_token, proof)).status).toBe(200);
  }

  test(`${prefix}-check-dpop-proof-nbf-exp: proofs may say when they are good`, async () => {
    await completeWithProofs(() => ({ nbf: epoch(), exp: epoch() + 300 }));
  });

  test(`${prefix}-ensure-dpopproof-with-iat-10seconds-before-succeeds`, async () => {
    await completeWithProofs(() => ({ iat: epoch() - 10 }));
  });

  test(`${prefix}-ensure-dpopproof-with-iat-10seconds-after-succeeds`, async () => {
    await completeWithProofs(() => ({ iat: epoch() + 10 }));
  });

  test(`${prefix}-ensure-mismatched-dpop-jkt-fails: a pushed request proves the key that it names`, async () => {
    const { suite, party } = plan;
    const other = (await createProofKey()).thumbprint;
    const headers = await proofFor(suite, party, suite.metadata.pushed_authorization_request_endpoint);
    await expectNotPushed(
      plan,
      newRequest({ dpop_jkt: other }),
      ['invalid_request', 'invalid_dpop_proof'],
      {},
      headers,
    );
  });

  test(`${prefix}-ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt`, async () => {
    const { suite, party, person } = plan;
    const pushHeaders = await proofFor(suite, party, suite.metadata.pushed_authorization_request_endpoint);
    const { request, code } = await obtainCode(suite, party, { person, pushHeaders });
    const otherKey: Party = { ...party, proofKey: await createProofKey() };
    expectRefused(await exchange(suite, otherKey, request, code), unbound);
  });

  test(`${prefix}-ensure-token-endpoint-fails-with-mismatched-dpop-jkt`, async () => {
    const { suite, party, person } = plan;
    const dpop_jkt = (await createProofKey()).thumbprint;
    const { request, code } = await obtainCode(suite, party, { person, request: newRequest({ dpop_jkt }) });
    expectRefused(await exchange(suite, party, request, code), unbound);
  });

  test(`${prefix}-ensure-dpopproof-at-par-endpoint-binding-success`, async () => {
    const { suite, party, person } = plan;
    const pushHeaders = await proofFor(suite, party, suite.metadata.pushed_authorization_request_endpoint);
    await complete(suite, party, { person, pushHeaders });
  });

  test(`${prefix}-ensure-dpop-auth-code-binding-success`, async () => {
    const { suite, party, person } = plan;
    const pushHeaders = await proofFor(suite, party, suite.metadata.pushed_authorization_request_endpoint);
    const request = newRequest({ dpop_jkt: party.proofKey.thumbprint });
    await complete(suite, party, { person, pushHeaders, request });
  });

  test(`${prefix}-dpop-negative-tests: a resource wants each part of a proof right`, async () => {
    const { suite, party, person } = plan;
    const url = suite.metadata.userinfo_endpoint;
    const token = (await complete(suite, party, { person })).tokens.access_token;
    const prove = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, key = party.proofKey) =>
      key.prove(url, { htm: 'GET', ath: ath(token), ...claims }, header);
    const call = (dpop: string, headers: Record<string, string> = {}) =>
      callResource(suite, party, token, { dpop, ...headers });

    const good = await prove();
    const [header = '', payload = '', signature = ''] = good.split('.');
    const readHeader = () => JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>;
    const withHeader = (changes: Record<string, unknown>) =>
      `${Buffer.from(JSON.stringify({ ...readHeader(), ...changes })).toString('base64url')}.${payload}.${signature}`;
    const refused: Record<string, string> = {
      'two proofs': `${await prove()}, ${await prove()}`,
      'no JWT': good.replaceAll('.', '/'),
      'no typ': await prove({}, { typ: undefined }),
      'another typ': await prove({}, { typ: 'jwt' }),
      'no alg': withHeader({ alg: undefined }),
      'alg none': withHeader({ alg: 'none' }).replace(/[^.]*$/, ''),
      'no jwk': await prove({}, { jwk: undefined }),
      'a private jwk': withHeader({ jwk: { ...(readHeader().jwk as object), d: 'AAAA' } }),
      'no jti': await prove({ jti: undefined }),
      'no htm': await prove({ htm: undefined }),
      'another htm': await prove({ htm: 'PUT' }),
      'no htu': await prove({ htu: undefined }),
      'another htu': await prove({ htu: `${url}/other` }),
      'no iat': await prove({ iat: undefined }),
      'iat an hour ahead': await prove({ iat: epoch() + 3600 }),
      'iat an hour ago': await prove({ iat: epoch() - 3600 }),
      'no ath': await prove({ ath: undefined }),
      'another ath': await prove({ ath: ath('another') }),
      'a wrong signature': `${header}.${payload}.${signature.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))}`,
      'another key': await prove({}, {}, await createProofKey()),
    };
    for (const [what, proof] of Object.entries(refused)) {
      const { status, json } = await call(proof);
      expect([what, [400, 401].includes(status), json.sub]).toEqual([what, true, undefined]);
    }

    const accepted: Record<string, string> = {
      'htu with query and fragment': await prove({ htu: `${url}?a=b#c` }),
      'htu in capitals': await prove({ htu: url.replace('http://', 'HTTP://') }),
      'more claims': await prove({ extra: 'claim' }, { extra: 'header' }),
    };
    for (const [what, proof] of Object.entries(accepted))
      expect([what, (await call(proof)).status]).toEqual([what, 200]);

    const once = await prove();
    expect((await call(once)).status).toBe(200);
    expectResourceRefused(await call(once));
    for (const scheme of ['DPoP', 'Bearer']) {
      expectResourceRefused(await send(url, { headers: { authorization: `${scheme} ${token}` } }));
    }
    expect((await call(await prove())).status).toBe(200);
  });
}

export function testTokenModules(plan: Plan, variant: Variant): void {
  describe('the token endpoint', () => {
    test(`${prefix}-ensure-client-id-in-token-endpoint: another client’s name with this one’s proof`, async () => {
      const { suite, party, second, person } = plan;
      const { request, code } = await obtainCode(suite, party, { person });
      const { client_id } = second.client;
      const assertion = await party.assert({ iss: client_id, sub: client_id });
      const authenticate: Party['client']['authenticate'] = async (asked) => {
        await authenticateAs(suite, party, asked.body, asked.headers, assertion);
        asked.body.set('client_id', client_id);
      };
      const impostor = { ...party, client: { ...second.client, authenticate } };
      const answer = await exchange(suite, impostor, request, code);
      expectRefused(answer, ['invalid_client', 'invalid_grant'], [400, 401]);
    });

    test(`${prefix}-ensure-holder-of-key-required: no tokens without a key to bind them to`, async () => {
      const { suite, party, person } = plan;
      const { request, code } = await obtainCode(suite, party, { person });
      const bare = variant.senderConstrain === 'dpop' ? party : withoutCertificate(party);
      const answer = await exchange(suite, bare, request, code, {}, {});
      expectRefused(answer, [...unbound, 'invalid_client'], [400, 401]);
    });

    /** Authenticates, if it can, without showing the certificate. */
    function withoutCertificate(party: Party): Party {
      const authenticate: Party['client']['authenticate'] = async (asked) => {
        await party.client.authenticate?.(asked);
        asked.headers.delete('x-client-certificate');
      };
      return { ...party, client: { ...party.client, authenticate } };
    }

    test(`${prefix}-ensure-authorization-code-is-bound-to-client`, async () => {
      const { suite, party, second, person } = plan;
      const { request, code } = await obtainCode(suite, party, { person });
      expectRefused(await exchange(suite, second, request, code), ['invalid_grant']);
    });

    test(`${prefix}-attempt-reuse-authorization-code-after-one-second: refused, and its token ends`, async () => {
      const { suite, party, person } = plan;
      const { request, code, tokens } = await complete(suite, party, { person });
      passTime(1);
      expectRefused(await exchange(suite, party, request, code), ['invalid_grant']);
      expectResourceRefused(await callResource(suite, party, tokens.access_token));
    });

    test(`${prefix}-ensure-token-endpoint-fails-with-expired-auth-code: after a minute`, async () => {
      const { suite, party, person } = plan;
      const { request, code } = await obtainCode(suite, party, { person });
      passTime(61);
      expectRefused(await exchange(suite, party, request, code), ['invalid_grant']);
    });

    test(`${prefix}-refresh-token: it works for its client alone, and is not rotated`, async () => {
      const { suite, party, second, person } = plan;
      const request = newFapiRequest(suite, party, { scope: 'openid offline_access', prompt: 'consent' });
      const { tokens, claims } = await complete(suite, party, { person, request });
      expect(tokens.refresh_token).toMatch(/^[\x20-\x7e]+$/);
      const url = suite.metadata.token_endpoint;
      const refresh = async (by: Party, headers?: Record<string, string>) => {
        const parameters = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token };
        return post(url, parameters, by.client, headers ?? (await proofFor(suite, by, url)));
      };
      const refreshed = expectBoundTokens(suite, await refresh(party));
      expect(refreshed.refresh_token).toBe(tokens.refresh_token);
      expect((await callResource(suite, party, refreshed.access_token)).status).toBe(200);
      expect((await verifyIdToken(suite, request, refreshed)).sub).toBe(claims.sub);
      expectRefused(await refresh(second), ['invalid_grant']);
      expectRefused(
        await refresh({ ...party, client: { ...party.client, authenticate: () => {} } }),
        [...['invalid_client', 'invalid_request']],
        [400, 401],
      );
      if (variant.senderConstrain === 'dpop') expectRefused(await refresh(party, {}), unbound);
      expectTokens(await refresh(party), variant.senderConstrain === 'dpop' ? 'dpop' : 'bearer');
    });
  });

  if (variant.clientAuth === 'private_key_jwt') testAssertionModules(plan);
}

function testAssertionModules(plan: Plan): void {
  describe('client assertions', () => {
    async function redeemWith(assertion: string | undefined, by = plan.party) {
      const { suite, person } = plan;
      const request = newFapiRequest(suite, by);
      const requestUri = expectPushed(await push(suite, by, request));
      const { response } = await readResponse(suite, by, await open(suite, by, requestUri, { person }));
      const asked = assertion === undefined ? onlyNamed(by) : withAssertion(suite, by, assertion);
      return exchange(suite, asked, request, response?.code ?? '');
    }

    function onlyNamed(party: Party): Party {
      const { client_id } = party.client;
      return { ...party, client: { ...party.client, authenticate: ({ body }) => body.set('client_id', client_id) } };
    }

    test(`${prefix}-ensure-signed-client-assertion-with-RS256-fails: though PS256 by that key works`, async () => {
      const party = await newParty(plan.suite, {}, rsaKeys);
      const assertion = await party.assert({}, { alg: 'RS256' });
      expectRefused(await redeemWith(assertion, party), ['invalid_client'], [400, 401]);
      expectBoundTokens(plan.suite, await redeemWith(await party.assert(), party));
    });

    test(`${prefix}-ensure-client-assertion-in-token-endpoint: without one, nothing`, async () => {
      expectRefused(await redeemWith(undefined), ['invalid_client', 'invalid_request'], [400, 401]);
    });

    const bad: [string, () => Record<string, unknown>][] = [
      ['ensure-client-assertion-with-exp-is-5-minutes-in-past-fails', () => ({ exp: epoch() - 300 })],
      ['ensure-client-assertion-with-wrong-aud-fails', () => ({ aud: 'https://other.example/' })],
      ['ensure-client-assertion-with-no-sub-fails', () => ({ sub: undefined })],
    ];
    test.each(bad)(`${prefix}-%s`, async (_name, claims) => {
      const answer = await redeemWith(await plan.party.assert(claims()));
      expectRefused(answer, ['invalid_client'], [400, 401]);
    });
  });
}

/** FAPI 2.0 Security Profile, the modules about requests: what must work, what is refused, PAR and PKCE. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { readText } from '../support/person.ts';
import { signIn } from '../support/relying-party.ts';
import { expectErrorPage, expectRefused } from './expectations.ts';
import {
  callResource,
  complete,
  epoch,
  exchange,
  expectPushed,
  newFapiRequest,
  newParty,
  obtainCode,
  open,
  push,
  readResponse,
  type Variant,
  withAssertion,
} from './fapi2-party.ts';
import { expectNotPushed, type Plan } from './fapi2-plan.ts';
import { authorize, newPerson, passTime } from './harness.ts';
import { send } from './http.ts';

const prefix = 'fapi2-security-profile-final';
const fapiAlgorithms = ['PS256', 'ES256', 'EdDSA', 'Ed25519'];
const random = (length: number) => randomBytes(length).toString('hex').slice(0, length);

export function testRequestModules(plan: Plan, variant: Variant): void {
  const newRequest = (changes = {}) => newFapiRequest(plan.suite, plan.party, changes);

  describe('what must work', () => {
    test(`${prefix}-discovery-end-point-verification: the metadata names what the profile needs`, async () => {
      const { metadata } = plan.suite;
      expect(metadata).toMatchObject({
        response_types_supported: expect.arrayContaining(['code']),
        pushed_authorization_request_endpoint: expect.stringMatching(/^http/),
        code_challenge_methods_supported: expect.arrayContaining(['S256']),
        authorization_response_iss_parameter_supported: true,
        scopes_supported: expect.arrayContaining(['openid']),
        subject_types_supported: expect.arrayContaining(['public']),
        tls_client_certificate_bound_access_tokens: true,
        token_endpoint_auth_methods_supported: expect.arrayContaining([
          ...['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'],
        ]),
        ...(variant.messageSigning && { response_modes_supported: expect.arrayContaining(['jwt']) }),
      });
      expect([undefined, true, false]).toContain(metadata.require_pushed_authorization_requests);
      const purposes = ['id_token', 'dpop', 'token_endpoint_auth', 'userinfo', 'request_object', 'authorization'];
      for (const purpose of purposes) {
        const listed = metadata[`${purpose}_signing_alg_values_supported`] as string[];
        expect(
          listed.filter((alg) => fapiAlgorithms.includes(alg)),
          purpose,
        ).not.toEqual([]);
      }
    });

    test(`${prefix}-happy-flow: two clients get tokens bound to their keys, and no other key uses them`, async () => {
      const { suite, party, second, person } = plan;
      const flow = await complete(suite, party, { person });
      await complete(suite, second, { person });
      expect((await callResource(suite, second, flow.tokens.access_token)).status).toBe(401);
      expect((await callResource(suite, party, flow.tokens.access_token)).status).toBe(200);
    });

    test(`${prefix}-user-rejects-authentication: access_denied, with the state sent`, async () => {
      const { suite, party } = plan;
      const client = await newParty(suite);
      const request = newFapiRequest(suite, client, { state: random(128) });
      const requestUri = expectPushed(await push(suite, client, request));
      const browser = newPerson(suite);
      const refuse = async (page: Awaited<ReturnType<typeof browser.open>>) => {
        if (page.html.includes('id="login"')) return signIn(browser, page, suite.account);
        if (page.html.includes('id="consent"')) return browser.submit(page, 'consent', {}, 'consent-deny');
        return undefined;
      };
      const answer = await open(suite, client, requestUri, { person: browser, answer: { answer: refuse } });
      const { response } = await readResponse(suite, client, answer);
      expect(response).toMatchObject({ error: 'access_denied', state: request.parameters.state, iss: suite.issuer });
      expect(party.client.client_id).not.toBe(client.client.client_id);
    });

    test(`${prefix}-ensure-authorization-request-without-state-success: no state comes back`, async () => {
      const { suite, party, person } = plan;
      const flow = await complete(suite, party, { person, request: newRequest({ state: undefined }) });
      expect(flow.answer.response).not.toHaveProperty('state');
      expect(flow.claims).not.toHaveProperty('s_hash');
    });

    test(`${prefix}-ensure-authorization-request-without-nonce-success: no nonce in the ID token`, async () => {
      const { suite, party, person } = plan;
      const flow = await complete(suite, party, { person, request: newRequest({ nonce: undefined }) });
      expect(flow.claims).not.toHaveProperty('nonce');
    });

    test(`${prefix}-ensure-authorization-request-with-64-char-nonce-success: it comes back whole`, async () => {
      const nonce = random(64);
      const request = newRequest({ nonce });
      expect((await complete(plan.suite, plan.party, { person: plan.person, request })).claims.nonce).toBe(nonce);
    });

    test(`${prefix}-ensure-other-scope-order-succeeds: openid need not come first`, async () => {
      const request = newRequest({ scope: 'email openid' });
      const { tokens } = await complete(plan.suite, plan.party, { person: plan.person, request });
      expect(String(tokens.id_token)).not.toBe('');
    });

    test(`${prefix}-test-claims-parameter-identity-claims: claims asked for one by one come back`, async () => {
      const claims = JSON.stringify({
        userinfo: { given_name: { essential: true }, family_name: null, birthdate: null },
        id_token: { given_name: { essential: true } },
      });
      const flow = await complete(plan.suite, plan.party, { person: plan.person, request: newRequest({ claims }) });
      expect(flow.resource.json).toMatchObject({ given_name: 'Ada', family_name: 'Moreno', birthdate: '1994-06-27' });
      expect(flow.claims).toMatchObject({ given_name: 'Ada' });
    });

    test(`${prefix}-access-token-type-header-case-sensitivity: the scheme is taken in any case`, async () => {
      const { suite, party, person } = plan;
      const { tokens } = await complete(suite, party, { person });
      const scheme = variant.senderConstrain === 'dpop' ? 'dPOP' : 'bEARER';
      const headers = { authorization: `${scheme} ${tokens.access_token}` };
      expect((await callResource(suite, party, tokens.access_token, headers)).status).toBe(200);
    });
  });

  describe('inside and outside of the pushed request', () => {
    test(`${prefix}-ensure-different-nonce-inside-and-outside-request-object: the one inside counts`, async () => {
      const changes = { nonce: 'another' };
      const flow = await complete(plan.suite, plan.party, { person: plan.person, changes });
      expect(flow.claims.nonce).toBe(flow.request.parameters.nonce);
    });

    test(`${prefix}-ensure-different-state-inside-and-outside-request-object: the one inside counts`, async () => {
      const changes = { state: 'another' };
      const flow = await complete(plan.suite, plan.party, { person: plan.person, changes });
      expect(flow.answer.response?.state).toBe(flow.request.parameters.state);
    });

    test(`${prefix}-ensure-authorization-request-with-long-nonce: 384 characters come back whole`, async () => {
      const nonce = random(384);
      const request = newRequest({ nonce });
      expect((await complete(plan.suite, plan.party, { person: plan.person, request })).claims.nonce).toBe(nonce);
    });

    test(`${prefix}-ensure-authorization-request-with-long-state: 384 characters come back whole`, async () => {
      const state = random(384);
      const flow = await complete(plan.suite, plan.party, { person: plan.person, request: newRequest({ state }) });
      expect(flow.answer.response?.state).toBe(state);
    });

    test(`${prefix}-state-only-outside-request-object-not-used: it does not come back`, async () => {
      const options = { request: newRequest({ state: undefined }), changes: { state: 'outside' } };
      const flow = await complete(plan.suite, plan.party, { person: plan.person, ...options });
      expect(flow.answer.response).not.toHaveProperty('state');
    });

    test(`${prefix}-ensure-request-object-without-redirect-uri-fails: though only one is registered`, async () => {
      await expectNotPushed(plan, newRequest({ redirect_uri: undefined }), [
        'invalid_request',
        'invalid_request_object',
      ]);
    });
  });

  describe('requests that are refused', () => {
    test(`${prefix}-ensure-registered-redirect-uri: another one is refused`, async () => {
      const redirect_uri = `https://suite.example/test/a/latchkey/callback/${random(8)}`;
      await expectNotPushed(plan, newRequest({ redirect_uri }), ['invalid_request', 'invalid_request_object']);
    });

    test(`${prefix}-plain-fapi-tolerate-unregistered-redirect-uri: it need not be, and is not`, async () => {
      const redirect_uri = `https://suite.example/${random(8)}`;
      await expectNotPushed(plan, newRequest({ redirect_uri }), ['invalid_request', 'invalid_request_object']);
    });

    test(`${prefix}-ensure-unsigned-authorization-request-without-using-par-fails`, async () => {
      const { suite, person } = plan;
      const request = newRequest();
      const answer = await readResponse(suite, plan.party, await authorize(suite, request.parameters, { person }));
      expect(answer.response).toMatchObject({ error: 'invalid_request', state: request.parameters.state });
      expectErrorPage(await authorize(suite, request.parameters, { person: newPerson(suite) }));
    });

    test(`${prefix}-ensure-redirect-uri-in-authorization-request: it must be sent`, async () => {
      await expectNotPushed(plan, newRequest({ redirect_uri: undefined }), [
        'invalid_request',
        'invalid_request_object',
      ]);
    });

    test(`${prefix}-ensure-response-type-code-idtoken-fails`, async () => {
      const request = newRequest({ response_type: 'code id_token' });
      await expectNotPushed(plan, request, ['unsupported_response_type', 'invalid_request', 'unauthorized_client']);
    });

    test(`${prefix}-ensure-response-type-token-fails`, async () => {
      const request = newRequest({ response_type: 'token' });
      await expectNotPushed(plan, request, ['unsupported_response_type', 'invalid_request', 'unauthorized_client']);
    });
  });

  describe('PAR', () => {
    test(`${prefix}-par-ensure-reused-request-uri-prior-to-auth-completion-succeeds`, async () => {
      const { suite, party } = plan;
      const request = newRequest();
      const requestUri = expectPushed(await push(suite, party, request));
      const first = await open(suite, party, requestUri, {
        person: newPerson(suite),
        answer: { answer: async (page) => ({ ...page, html: '' }) },
      });
      expect(first.response).toBeUndefined();
      const second = await readResponse(suite, party, await open(suite, party, requestUri));
      expect(second.response).toMatchObject({ code: expect.any(String), state: request.parameters.state });
    });

    test(`${prefix}-par-attempt-reuse-request_uri: it works once`, async () => {
      const { suite, party, person } = plan;
      const { requestUri } = await obtainCode(suite, party, { person });
      const answer = await open(suite, party, requestUri, { person });
      if (answer.response) expect(answer.response.error).toBe('invalid_request_uri');
      else expectErrorPage(answer);
    });

    test(`${prefix}-par-attempt-to-use-expired-request_uri`, async () => {
      const { suite, party, person } = plan;
      const pushed = await push(suite, party, newRequest());
      passTime(Number(pushed.json.expires_in) + 1);
      const answer = await open(suite, party, expectPushed(pushed), { person });
      expectErrorPage(answer);
      expect(readText(answer.page.html)).toContain('invalid_request_uri');
    });

    test(`${prefix}-par-attempt-to-use-request_uri-for-different-client`, async () => {
      const { suite, party, second, person } = plan;
      const requestUri = expectPushed(await push(suite, party, newRequest()));
      const answer = await open(suite, second, requestUri, { person });
      expectErrorPage(answer);
      expect(readText(answer.page.html)).toMatch(/invalid_request/);
    });

    test(`${prefix}-par-authorization-request-containing-request_uri-form-param`, async () => {
      const codes = ['invalid_request', 'invalid_request_object', 'request_uri_not_supported'];
      await expectNotPushed(plan, newRequest(), codes, {
        request_uri: `urn:ietf:params:oauth:request_uri:${random(16)}`,
      });
    });

    test(`${prefix}-par-attempt-invalid-http-method: 405, and POST is what is allowed`, async () => {
      const url = plan.suite.metadata.pushed_authorization_request_endpoint;
      for (const method of ['PUT', 'GET', 'DELETE']) {
        const { status, headers } = await send(url, { method });
        expect([method, status, headers.get('allow')]).toEqual([method, 405, expect.stringContaining('POST')]);
      }
    });

    test(`${prefix}-par-without-duplicate-parameters: client_id and request_uri are enough`, async () => {
      const { suite, party, person } = plan;
      const { request, code } = await obtainCode(suite, party, { person });
      expect((await exchange(suite, party, request, code)).status).toBe(200);
    });

    if (variant.clientAuth === 'private_key_jwt') testAssertions();
  });

  function testAssertions(): void {
    test(`${prefix}-par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted`, async () => {
      const { suite, party } = plan;
      const soon = { iat: epoch() + 8, nbf: epoch() + 8 };
      expectPushed(await push(suite, withAssertion(suite, party, await party.assert(soon)), newRequest()));
    });

    const badAssertions: [string, () => Record<string, unknown>][] = [
      [
        'par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails',
        () => ({ iat: epoch() + 70, nbf: epoch() + 70, exp: epoch() + 130 }),
      ],
      ['par-test-array-as-audience-fails', () => ({ aud: [plan.suite.issuer] })],
      [
        'par-test-par-endpoint-url-as-audience-fails',
        () => ({ aud: plan.suite.metadata.pushed_authorization_request_endpoint }),
      ],
      ['par-test-token-endpoint-url-as-audience-fails', () => ({ aud: plan.suite.metadata.token_endpoint })],
    ];
    test.each(badAssertions)(`${prefix}-%s`, async (_name, claims) => {
      const { suite, party } = plan;
      const by = withAssertion(suite, party, await party.assert(claims()));
      expectRefused(await push(suite, by, newRequest()), ['invalid_client'], [400, 401]);
    });
  }

  describe('PKCE', () => {
    test(`${prefix}-par-ensure-pkce-required: no request without a challenge`, async () => {
      const request = newRequest({ code_challenge: undefined, code_challenge_method: undefined });
      await expectNotPushed(plan, request, ['invalid_request']);
    });

    test(`${prefix}-par-plain-pkce-rejected`, async () => {
      await expectNotPushed(plan, newRequest({ code_challenge_method: 'plain' }), ['invalid_request']);
    });

    test(`${prefix}-ensure-pkce-code-verifier-required: no code without its verifier`, async () => {
      const { suite, party, person } = plan;
      const { request, code } = await obtainCode(suite, party, { person });
      const answer = await exchange(suite, party, request, code, { code_verifier: undefined });
      expectRefused(answer, ['invalid_grant', 'invalid_request']);
    });

    test(`${prefix}-incorrect-pkce-code-verifier-rejected`, async () => {
      const { suite, party, person } = plan;
      const { request, code } = await obtainCode(suite, party, { person });
      expectRefused(await exchange(suite, party, request, code, { code_verifier: random(64) }), ['invalid_grant']);
    });
  });
}

/** FAPI 2.0 Message Signing, the modules that it adds: about request objects (RFC 9101), pushed. */
import { test } from 'vitest';
import { expectRefused } from './expectations.ts';
import { epoch, expectPushed, newFapiRequest, newParty, requestObject, rsaKeys } from './fapi2-party.ts';
import type { Plan } from './fapi2-plan.ts';
import { post } from './http.ts';

const prefix = 'fapi2-security-profile-final';

export function testRequestObjectModules(plan: Plan): void {
  async function pushObject(claims: Record<string, unknown>, header: Record<string, unknown> = {}, by = plan.party) {
    const { suite, party } = plan;
    const request = await requestObject(
      suite,
      by,
      newFapiRequest(suite, party),
      { iss: party.client.client_id, ...claims },
      header,
    );
    return post(suite.metadata.pushed_authorization_request_endpoint, { request }, party.client);
  }
  const refusals = ['invalid_request', 'invalid_request_object'];

  test(`${prefix}-ensure-request-object-with-multiple-aud-succeeds`, async () => {
    expectPushed(await pushObject({ aud: [plan.suite.issuer, 'https://other.example/'] }));
  });

  test(`${prefix}-ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted`, async () => {
    expectPushed(await pushObject({ nbf: epoch() + 8, iat: epoch() + 8 }));
  });

  const bad: [string, () => Record<string, unknown>][] = [
    ['ensure-request-object-without-exp-fails', () => ({ exp: undefined })],
    ['ensure-request-object-without-nbf-fails', () => ({ nbf: undefined })],
    ['ensure-expired-request-object-fails', () => ({ nbf: epoch() - 600, exp: epoch() - 300 })],
    ['ensure-request-object-with-bad-aud-fails', () => ({ aud: 'https://other.example/' })],
    ['ensure-request-object-with-exp-over-60-fails', () => ({ exp: epoch() + 70 * 60 })],
    ['ensure-request-object-with-nbf-over-60-fails', () => ({ nbf: epoch() - 70 * 60 })],
    [
      'par-authorization-request-containing-request_uri',
      () => ({ request_uri: 'urn:ietf:params:oauth:request_uri:x' }),
    ],
  ];
  test.each(bad)(`${prefix}-%s`, async (_name, claims) => {
    expectRefused(await pushObject(claims()), refusals);
  });

  test(`${prefix}-ensure-signed-request-object-with-RS256-fails`, async () => {
    const { suite } = plan;
    const party = await newParty(suite, {}, rsaKeys);
    const url = suite.metadata.pushed_authorization_request_endpoint;
    const pushSigned = async (alg: string) => {
      return post(
        url,
        { request: await requestObject(suite, party, newFapiRequest(suite, party), {}, { alg }) },
        party.client,
      );
    };
    expectRefused(await pushSigned('RS256'), refusals);
    expectPushed(await pushSigned('PS256'));
  });

  test(`${prefix}-ensure-request-object-signature-algorithm-is-not-none`, async () => {
    const { suite, party } = plan;
    const [header = '', payload] = (await requestObject(suite, party, newFapiRequest(suite, party))).split('.');
    const none = { ...JSON.parse(Buffer.from(header, 'base64url').toString()), alg: 'none' };
    const request = `${Buffer.from(JSON.stringify(none)).toString('base64url')}.${payload}.`;
    const url = suite.metadata.pushed_authorization_request_endpoint;
    expectRefused(await post(url, { request }, party.client), refusals);
  });

  test(`${prefix}-ensure-request-object-with-invalid-signature-fails`, async () => {
    const { suite, party } = plan;
    const request = await requestObject(suite, party, newFapiRequest(suite, party));
    const changed = request.replace(/.{8}$/, (end) => (end.startsWith('A') ? `B${end.slice(1)}` : `A${end.slice(1)}`));
    const url = suite.metadata.pushed_authorization_request_endpoint;
    expectRefused(await post(url, { request: changed }, party.client), refusals);
  });

  test(`${prefix}-ensure-matching-key-in-authorization-request: the other client’s key does not do`, async () => {
    expectRefused(await pushObject({}, {}, plan.second), refusals);
  });

  test(`${prefix}-ensure-unsigned-request-at-par-endpoint-fails`, async () => {
    const { suite, party } = plan;
    const { parameters } = newFapiRequest(suite, party);
    const url = suite.metadata.pushed_authorization_request_endpoint;
    expectRefused(await post(url, parameters, party.client), refusals);
  });
}

/** Algorithms: what the server signs with, and what it lets clients sign with. */
import { decodeProtectedHeader } from 'jose';
import { expect } from 'vitest';
import { expectCode, expectTokens } from '../../conformance/expectations.ts';
import { redeem } from '../../conformance/harness.ts';
import { post } from '../../conformance/http.ts';
import { ath } from '../../support/dpop.ts';
import { proveAs, signAs } from './client-keys.ts';
import { type Exerciser, expectJson, type Members, type World } from './world.ts';

const serverAlgorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const proofAlgorithms = ['PS256', 'ES256', 'EdDSA', 'Ed25519'];
const clientAlgorithms = ['RS256', ...proofAlgorithms];

export const signatures: Members = {
  id_token_signing_alg_values_supported: each(serverAlgorithms, async (world, alg) => {
    const { tokens } = await world.signIn({}, await world.clientSignedFor(alg));
    expect(decodeProtectedHeader(tokens.id_token).alg).toBe(alg);
  }),
  userinfo_signing_alg_values_supported: each(serverAlgorithms, async (world, alg) => {
    const client = await world.clientSignedFor(alg);
    const { tokens, claims } = await world.signIn({ scope: 'openid email' }, client);
    const answer = await world.userinfo(tokens.access_token);
    expect(answer.headers.get('content-type')).toMatch(/^application\/jwt/);
    const told = await world.verify(answer.text, alg, client);
    expect(told).toMatchObject({ sub: claims.sub, email: world.account.email });
  }),
  introspection_signing_alg_values_supported: each(serverAlgorithms, async (world, alg) => {
    const client = await world.clientSignedFor(alg);
    const { tokens } = await world.signIn({}, client);
    const accept = { accept: 'application/token-introspection+jwt' };
    const answer = await world.introspect(tokens.access_token, client, accept);
    expect(answer.headers.get('content-type')).toMatch(/^application\/token-introspection\+jwt/);
    expect(decodeProtectedHeader(answer.text).typ).toBe('token-introspection+jwt');
    const { token_introspection: told } = await world.verify(answer.text, alg, client);
    expect(told).toMatchObject({ active: true, client_id: client.client_id });
  }),
  authorization_signing_alg_values_supported: each(serverAlgorithms, async (world, alg) => {
    const client = await world.clientSignedFor(alg);
    const { response } = await world.authorize(world.request({ response_mode: 'jwt' }, client).parameters);
    expect((await world.verify(response?.response ?? '', alg, client)).code).toBeTruthy();
  }),
  request_object_signing_alg_values_supported: each(clientAlgorithms, async (world, alg) => {
    const request = world.request({}, await world.clientWithKeys(alg));
    const { client_id = '' } = request.parameters;
    const claims = { ...request.parameters, iss: client_id, aud: world.issuer };
    const signed = { client_id, request: await signAs(world.keyFor(alg), alg, claims) };
    expectTokens(await redeem(world, request, expectCode(world, request, await world.authorize(signed))));
  }),
  token_endpoint_auth_signing_alg_values_supported: each(clientAlgorithms, async (world, alg) => {
    await world.signIn({}, await world.clientWithKeys(alg));
  }),
  introspection_endpoint_auth_signing_alg_values_supported: each(clientAlgorithms, async (world, alg) => {
    const client = await world.clientWithKeys(alg);
    expect(expectJson(await world.introspect('nothing', client))).toEqual({ active: false });
  }),
  revocation_endpoint_auth_signing_alg_values_supported: each(clientAlgorithms, async (world, alg) => {
    const client = await world.clientWithKeys(alg);
    const answer = await post(world.metadata.revocation_endpoint, { token: 'nothing' }, client);
    expect(answer.status, answer.text).toBe(200);
  }),
  dpop_signing_alg_values_supported: each(proofAlgorithms, async (world, alg) => {
    const prove = (htm: string, htu: string, more = {}) => proveAs(world.keyFor(alg), alg, { htm, htu, ...more });
    const { token_endpoint, userinfo_endpoint } = world.metadata;
    const { tokens } = await world.signIn({}, world.client, { dpop: await prove('POST', token_endpoint) });
    const proof = await prove('GET', userinfo_endpoint, { ath: ath(tokens.access_token) });
    const authorization = `DPoP ${tokens.access_token}`;
    expectJson(await world.userinfo(tokens.access_token, { authorization, dpop: proof }));
    expect((await world.userinfo(tokens.access_token)).status).toBe(401);
  }),
};

function each(algorithms: string[], exercise: (world: World, alg: string) => Promise<void>): Record<string, Exerciser> {
  return Object.fromEntries(algorithms.map((alg) => [alg, (world: World) => exercise(world, alg)]));
}

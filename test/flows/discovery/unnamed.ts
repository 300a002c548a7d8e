/** What specifications know and this metadata does not name: registered or requested, each is refused. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { redirectUri } from '../../conformance/harness.ts';
import { post, send } from '../../conformance/http.ts';
import type { World } from './world.ts';

/** Metadata that no client may register, by the list of discovery that lacks the value. */
export const unregistrable: [member: string, value: string, metadata: Record<string, unknown>][] = [
  ...['id_token', 'code id_token', 'code token', 'none'].map((type) =>
    entry('response_types_supported', type, {
      response_types: [type],
      grant_types: ['implicit', 'authorization_code'],
    }),
  ),
  ...['implicit', 'password', 'urn:openid:params:grant-type:ciba', 'urn:ietf:params:oauth:grant-type:jwt-bearer'].map(
    (type) => entry('grant_types_supported', type, { grant_types: ['authorization_code', type] }),
  ),
  entry('token_endpoint_auth_methods_supported', 'client_secret_jwt', {
    token_endpoint_auth_method: 'client_secret_jwt',
  }),
  ...['none', 'HS256', 'RS384', 'ES512'].flatMap((alg) => [
    entry('id_token_signing_alg_values_supported', alg, { id_token_signed_response_alg: alg }),
    entry('userinfo_signing_alg_values_supported', alg, { userinfo_signed_response_alg: alg }),
    entry('authorization_signing_alg_values_supported', alg, { authorization_signed_response_alg: alg }),
    entry('introspection_signing_alg_values_supported', alg, { introspection_signed_response_alg: alg }),
    entry('request_object_signing_alg_values_supported', alg, { request_object_signing_alg: alg }),
  ]),
  entry('subject_types_supported', 'private', { subject_type: 'private' }),
];

function entry(member: string, value: string, metadata: Record<string, unknown>) {
  return [member, value, metadata] as [string, string, Record<string, unknown>];
}

export async function expectUnregistrable(world: World, metadata: Record<string, unknown>): Promise<void> {
  const { status, json } = await send(`${world.app.origin}/clients`, {
    method: 'POST',
    // Thirty registrations a minute are for one address; the server trusts what this proxy says of it.
    headers: { 'content-type': 'application/json', 'x-forwarded-for': `2001:db8:${randomBytes(2).toString('hex')}::1` },
    body: JSON.stringify({ redirect_uris: [redirectUri], ...metadata }),
  });
  expect([status, json.error], JSON.stringify(json)).toEqual([400, 'invalid_client_metadata']);
}

/** Parameters of a request that is answered with an error. */
export const unaskable: [member: string, value: string, parameter: string, error: string][] = [
  ['response_types_supported', 'token', 'response_type', 'unsupported_response_type'],
  ['response_modes_supported', 'web_message', 'response_mode', 'unsupported_response_mode'],
  ['code_challenge_methods_supported', 'plain', 'code_challenge_method', 'invalid_request'],
  ['prompt_values_supported', 'select_account', 'prompt', 'invalid_request'],
  ['prompt_values_supported', 'create', 'prompt', 'invalid_request'],
  ['scopes_supported', 'openid groups', 'scope', 'invalid_scope'],
];

/** Pushed, the errors come back as JSON, whatever they would do to a response. */
export async function expectUnaskable(world: World, parameter: string, value: string, error: string): Promise<void> {
  const { parameters } = world.request({ [parameter]: value });
  const endpoint = world.metadata.pushed_authorization_request_endpoint;
  const { status, json } = await post(endpoint, parameters, world.client);
  expect([status, json.error], JSON.stringify(json)).toEqual([400, error]);
}

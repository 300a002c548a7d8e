/**
 * The one switch for FAPI 2.0: client metadata `fapi_profile`. What it asks of registration is here, what it asks of each
 * request is oidc/fapi.ts. It only makes things stricter, so whoever registers a client may set it.
 */
import type { ClientMetadata } from '../db/schema.ts';
import type { Issue } from '../http/errors.ts';
import { fapiAlgorithms, fapiServerAlgorithms } from '../keys/signing-algorithms.ts';
import { isLoopback } from './redirect-uris.ts';

/** FAPI 2.0 Security Profile, and the same with Message Signing: signed requests, responses and introspection. */
export const fapiProfiles: readonly unknown[] = ['2.0_security', '2.0_message_signing'];

const authMethods: readonly unknown[] = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'];

/** JARM §2.3: the response modes whose answer is one signed JWT. */
const signedResponseModes = ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'];

/** FAPI knows one way in, and what a service does for itself; other devices and direct grants are not among them. */
const grantTypes: readonly unknown[] = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'urn:ietf:params:oauth:grant-type:token-exchange',
];

/** By metadata name, the algorithms that a FAPI client may choose from. */
const algorithmChoices: readonly [string, readonly string[]][] = [
  ['token_endpoint_auth_signing_alg', fapiAlgorithms],
  ['request_object_signing_alg', fapiAlgorithms],
  ['id_token_signed_response_alg', fapiServerAlgorithms],
  ['userinfo_signed_response_alg', fapiServerAlgorithms],
  ['authorization_signed_response_alg', fapiServerAlgorithms],
  ['introspection_signed_response_alg', fapiServerAlgorithms],
];

export function isFapiProfile(value: unknown): boolean {
  return fapiProfiles.includes(value);
}

/** The metadata with all that its `fapi_profile` demands or leaves to choose filled in; without one, unchanged. */
export function withFapiProfile(metadata: ClientMetadata): ClientMetadata {
  if (!isFapiProfile(metadata.fapi_profile)) return metadata;
  return {
    token_endpoint_auth_method: 'private_key_jwt',
    id_token_signed_response_alg: 'ES256',
    authorization_signed_response_alg: 'ES256',
    introspection_signed_response_alg: 'ES256',
    ...(signsMessages(metadata) && { response_modes: signedResponseModes }),
    ...metadata,
    require_pushed_authorization_requests: true,
    require_pkce: true,
    // Tokens belong to a key: the client's certificate if it says so, else the key of its DPoP proofs.
    dpop_bound_access_tokens: metadata.tls_client_certificate_bound_access_tokens !== true,
    ...(signsMessages(metadata) && { require_signed_request_object: true }),
  };
}

/** What a client asks for that its `fapi_profile` rules out. */
export function fapiIssues(metadata: ClientMetadata): Issue[] {
  const { fapi_profile: profile } = metadata;
  if (profile === undefined) return [];
  if (!isFapiProfile(profile)) return [{ path: 'fapi_profile', message: `must be ${fapiProfiles.join(' or ')}` }];
  const issues = [
    outside(metadata, 'token_endpoint_auth_method', authMethods),
    ...algorithmChoices.map(([name, allowed]) => outside(metadata, name, allowed)),
    outside(metadata, 'response_types', ['code']),
    outside(metadata, 'grant_types', grantTypes),
    signsMessages(metadata) ? outside(metadata, 'response_modes', signedResponseModes) : [],
    signsMessages(metadata) ? missingKeys(metadata) : [],
    ...urisOf(metadata).map((uri, index) => insecureUri(uri, index)),
  ];
  return issues.flat();
}

function signsMessages({ fapi_profile }: ClientMetadata): boolean {
  return fapi_profile === '2.0_message_signing';
}

function outside(metadata: ClientMetadata, name: string, allowed: readonly unknown[]): Issue[] {
  const values = [metadata[name]].flat().filter((value) => value !== undefined);
  if (values.every((value) => allowed.includes(value))) return [];
  return [{ path: name, message: `must be ${listed(allowed)} with fapi_profile ${String(metadata.fapi_profile)}` }];
}

function listed(allowed: readonly unknown[]): string {
  return allowed.length < 2 ? allowed.join('') : `${allowed.slice(0, -1).join(', ')} or ${allowed.at(-1)}`;
}

/** A client with a certificate for its authentication still signs its request objects with a key of its own. */
function missingKeys({ jwks, jwks_uri }: ClientMetadata): Issue[] {
  if (jwks !== undefined || jwks_uri !== undefined) return [];
  return [{ path: 'jwks', message: 'or jwks_uri is needed: request objects are verified with it' }];
}

function urisOf({ redirect_uris }: ClientMetadata): unknown[] {
  return Array.isArray(redirect_uris) ? redirect_uris : [];
}

/** FAPI 2.0 Security Profile §5.3.2.2: https, apart from the loopback addresses of native apps. */
function insecureUri(uri: unknown, index: number): Issue[] {
  const url = typeof uri === 'string' && URL.canParse(uri) ? new URL(uri) : undefined;
  if (url?.protocol !== 'http:' || isLoopback(url)) return [];
  return [{ path: `redirect_uris.${index}`, message: 'must be https with fapi_profile' }];
}

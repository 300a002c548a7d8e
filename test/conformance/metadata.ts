/**
 * Every member of provider metadata that a specification defines, in the form that it asks for: OpenID Connect Discovery
 * 1.0 §3, RFC 8414 §2, and whoever registered more since. A member that is not here is unexpected.
 */
import { z } from 'zod';

const url = z.url({ protocol: /^https$/ });
const texts = z
  .array(z.string().min(1))
  .min(1)
  .refine((values) => new Set(values).size === values.length, 'each value once');

/** RFC 7518 §3.1, RFC 8037, RFC 9864; HMAC and `none` have no place at a server that stores hashes of secrets. */
const signingAlgorithms = z
  .array(z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']))
  .min(1)
  .refine((values) => new Set(values).size === values.length, 'each value once');
const authMethods = z
  .array(
    z.enum([
      ...(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const),
      ...(['tls_client_auth', 'self_signed_tls_client_auth'] as const),
    ]),
  )
  .min(1);
/** BCP 47, with the casing that it recommends. */
const locales = z.array(z.string().regex(/^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?$/)).min(1);

/** OpenID Connect Discovery 1.0 §3. */
const discovery = {
  issuer: url.refine((issuer) => !/[?#]/.test(issuer)),
  authorization_endpoint: url,
  token_endpoint: url,
  userinfo_endpoint: url,
  jwks_uri: url,
  registration_endpoint: url.optional(),
  scopes_supported: z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/)).refine((all) => all.includes('openid')),
  response_types_supported: z.array(z.enum(['code'])).length(1),
  response_modes_supported: texts,
  grant_types_supported: texts.refine((all) => all.includes('authorization_code')),
  acr_values_supported: texts.optional(),
  subject_types_supported: z.array(z.enum(['public', 'pairwise'])).min(1),
  id_token_signing_alg_values_supported: signingAlgorithms.refine((all) => all.includes('RS256')),
  userinfo_signing_alg_values_supported: signingAlgorithms.optional(),
  // The suite warns where RS256 is missing here.
  request_object_signing_alg_values_supported: signingAlgorithms.refine((all) => all.includes('RS256')).optional(),
  token_endpoint_auth_methods_supported: authMethods.refine((all) => all.includes('client_secret_basic')),
  token_endpoint_auth_signing_alg_values_supported: signingAlgorithms,
  display_values_supported: texts.optional(),
  claim_types_supported: texts.optional(),
  claims_supported: texts.refine((all) => all.includes('sub')),
  service_documentation: url.optional(),
  claims_locales_supported: locales.optional(),
  ui_locales_supported: locales.optional(),
  claims_parameter_supported: z.boolean(),
  request_parameter_supported: z.boolean().optional(),
  request_uri_parameter_supported: z.boolean(),
  require_request_uri_registration: z.boolean().optional(),
  op_policy_uri: url.optional(),
  op_tos_uri: url.optional(),
};

/** RFC 8414 §2. */
const authorizationServer = {
  revocation_endpoint: url,
  revocation_endpoint_auth_methods_supported: authMethods.optional(),
  revocation_endpoint_auth_signing_alg_values_supported: signingAlgorithms.optional(),
  introspection_endpoint: url,
  introspection_endpoint_auth_methods_supported: authMethods.optional(),
  introspection_endpoint_auth_signing_alg_values_supported: signingAlgorithms.optional(),
  code_challenge_methods_supported: z.array(z.enum(['S256'])).length(1),
};

/** What later specifications add to the registry of RFC 8414 §7.1. */
const extensions = {
  // OpenID Connect: RP-Initiated Logout, Back-Channel Logout, Prompt Create.
  end_session_endpoint: url,
  backchannel_logout_supported: z.boolean().optional(),
  backchannel_logout_session_supported: z.boolean().optional(),
  prompt_values_supported: texts.optional(),
  // RFC 8628, RFC 9126, RFC 9101, RFC 9207, RFC 9396, RFC 9449, RFC 8705.
  device_authorization_endpoint: url.optional(),
  pushed_authorization_request_endpoint: url.optional(),
  require_pushed_authorization_requests: z.boolean().optional(),
  require_signed_request_object: z.boolean().optional(),
  authorization_response_iss_parameter_supported: z.literal(true),
  authorization_details_types_supported: z.array(z.string()).optional(),
  dpop_signing_alg_values_supported: signingAlgorithms.optional(),
  tls_client_certificate_bound_access_tokens: z.boolean().optional(),
  mtls_endpoint_aliases: z.record(z.string().regex(/_endpoint$/), url).optional(),
  // JARM, RFC 9701, OAuth Client ID Metadata Document, RFC 9728.
  authorization_signing_alg_values_supported: signingAlgorithms.optional(),
  introspection_signing_alg_values_supported: signingAlgorithms.optional(),
  client_id_metadata_document_supported: z.boolean().optional(),
  protected_resources: z.array(z.url()).optional(),
};

export const providerMetadata = z.strictObject({ ...discovery, ...authorizationServer, ...extensions });

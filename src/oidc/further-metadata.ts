import { clientAlgorithms } from '../keys/signing-algorithms.ts';
import { clientAuthMethods, type MutualTls } from './mtls.ts';

/**
 * What the library does and does not say: clients authenticate everywhere as at the token endpoint (RFC 8414 §2: left out,
 * it would be client_secret_basic alone at revocation and anybody's guess at introspection), and what `prompt` may be.
 */
export function furtherMetadata(mtls: MutualTls | undefined): Record<string, unknown> {
  const methods = clientAuthMethods(mtls);
  return {
    introspection_endpoint_auth_methods_supported: methods,
    introspection_endpoint_auth_signing_alg_values_supported: clientAlgorithms,
    revocation_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_signing_alg_values_supported: clientAlgorithms,
    prompt_values_supported: ['none', 'login', 'consent'],
  };
}

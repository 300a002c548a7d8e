/**
 * Every list of JWS algorithms, in one place (RFC 7518 §3, RFC 8037, RFC 9864). All of them verify with a public key:
 * secrets are stored as hashes, and a hash must never serve as an HMAC key. `none` is in no list.
 */

/** What this server signs with. The key ring's RSA key signs both of its kinds. */
export const serverAlgorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const;

/** What clients may sign their assertions and request objects with. */
export const clientAlgorithms = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'] as const;

/** What DPoP proofs may be signed with. Keys for proofs are made anew, so nobody needs RSA with PKCS #1 v1.5. */
export const proofAlgorithms = ['ES256', 'PS256', 'EdDSA', 'Ed25519'] as const;

/** FAPI 2.0 Security Profile §5.4.1: PS256, ES256 or EdDSA with Ed25519, which has a name of its own since RFC 9864. */
export const fapiAlgorithms: readonly string[] = ['PS256', 'ES256', 'EdDSA', 'Ed25519'];

/** Those of them that this server signs with. */
export const fapiServerAlgorithms: readonly string[] = serverAlgorithms.filter((alg) => fapiAlgorithms.includes(alg));

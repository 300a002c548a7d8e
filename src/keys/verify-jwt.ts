import { compactVerify, createLocalJWKSet, errors, type JSONWebKeySet } from 'jose';

/** The algorithms that are accepted: signatures with a public key. `none` and HMAC are not among them (RFC 8725 §3.1). */
const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

export type JwtParts = { header: Record<string, unknown>; claims: Record<string, unknown> };

/** `unknown-key`: the set holds no key that fits; `wrong-signature`: one fits, but it did not sign this token. */
export type SignatureCheck =
  | { valid: true; alg: string; kid: string | undefined }
  | { valid: false; reason: 'unknown-key' | 'wrong-signature' | 'algorithm' | 'malformed' };

/** What a signed JWT says, unchecked. Undefined for anything else. */
export function decodeJwt(token: string): JwtParts | undefined {
  const [header, claims, signature, ...rest] = token.split('.').map(decodePart);
  if (!header || !claims || signature === undefined || rest.length > 0) return undefined;
  return { header, claims };
}

function decodePart(part: string, position: number): Record<string, unknown> | undefined {
  if (position > 1) return {};
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Checks a JWT's signature, and nothing of what it claims, against the issuer's published keys (RFC 7517 set). */
export async function verifyJwtSignature(token: string, jwks: unknown): Promise<SignatureCheck> {
  if (!isObject(jwks) || !Array.isArray(jwks.keys)) return { valid: false, reason: 'unknown-key' };
  try {
    const keys = createLocalJWKSet(jwks as unknown as JSONWebKeySet);
    const { protectedHeader } = await compactVerify(token, keys, { algorithms });
    return { valid: true, alg: protectedHeader.alg, kid: protectedHeader.kid };
  } catch (error) {
    return { valid: false, reason: reasonOf(error) };
  }
}

function reasonOf(error: unknown): Extract<SignatureCheck, { valid: false }>['reason'] {
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'wrong-signature';
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm';
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return 'unknown-key';
  }
  if (error instanceof errors.JOSENotSupported) return 'algorithm';
  return 'malformed';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

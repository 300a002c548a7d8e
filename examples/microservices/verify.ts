/**
 * Verification in the service itself (RFC 9068 §4), by the keys that Latchkey publishes. Nobody is asked, so it is fast
 * and goes on while Latchkey is away; the price is that a token stays good here until it expires, whatever happened.
 */
import { createRemoteJWKSet, customFetch, errors, type JWTPayload, jwtVerify } from 'jose';
import type { Check, Claims } from './bearer.ts';
import { invalidToken, notNow } from './problems.ts';
import { issuer, type Provider } from './provider.ts';
import { say } from './say.ts';

/**
 * A check of tokens for one API. Keys are fetched when the first token comes and kept for five minutes, as their
 * Cache-Control says. An unknown `kid` fetches them anew, since keys rotate; but at most every five seconds, since
 * anybody can make up a `kid`.
 */
export function verifyLocally(provider: Provider, audience: string): Check {
  const address = provider.serverMetadata().jwks_uri ?? '';
  const keys = createRemoteJWKSet(new URL(address), {
    cacheMaxAge: 5 * 60_000,
    cooldownDuration: 5_000,
    timeoutDuration: 5_000,
    [customFetch]: (url, options) => {
      say('fetches the keys');
      return fetch(url, options);
    },
  });
  const seen = new Set<string | undefined>();
  return async (token) => {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, keys, {
        issuer,
        audience,
        // An ID token is signed with the same keys, and must not pass for an access token.
        typ: 'at+jwt',
        // The algorithm of the API, and no other: what the token itself says is the sender's choice (RFC 8725 §3.1).
        algorithms: ['ES256'],
        requiredClaims: ['exp', 'sub', 'client_id'],
      });
      const { kid } = protectedHeader;
      if (!seen.has(kid)) say(`accepts what is signed with ${kid}`);
      seen.add(kid);
      return unbound(payload);
    } catch (error) {
      if (isFaultOfToken(error)) throw invalidToken(faultOf(error));
      throw notNow('Latchkey', address, error);
    }
  };
}

/** A token that is bound to a key (DPoP, mutual TLS) is nothing without a proof of it (RFC 9449 §7.1). */
function unbound(payload: JWTPayload): Claims {
  if (payload.cnf) throw new errors.JWTClaimValidationFailed('bound', payload, 'cnf');
  return payload as Claims & JWTPayload;
}

const tokenFaults = [
  errors.JWTExpired,
  errors.JWTClaimValidationFailed,
  errors.JWTInvalid,
  errors.JWSInvalid,
  errors.JWSSignatureVerificationFailed,
  errors.JOSEAlgNotAllowed,
  errors.JOSENotSupported,
  errors.JWKSNoMatchingKey,
];

/** All else is about getting the keys, and the token may be good. */
function isFaultOfToken(error: unknown): error is errors.JOSEError {
  return tokenFaults.some((fault) => error instanceof fault);
}

function faultOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired';
  if (error instanceof errors.JWKSNoMatchingKey) return 'the token is signed with a key that is not published';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the signature of the token is wrong';
  if (error instanceof errors.JOSEAlgNotAllowed) return 'the token is signed with an algorithm that is not accepted';
  if (!(error instanceof errors.JWTClaimValidationFailed)) return 'this is not a token that is accepted here';
  if (error.claim === 'aud') return 'the token is for another API';
  if (error.claim === 'iss') return 'the token is from another issuer';
  if (error.claim === 'cnf') return 'the token is bound to a key and was sent without a proof of it';
  return `the claim ${error.claim} of the token is not accepted`;
}

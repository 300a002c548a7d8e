import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';
import { proofAlgorithms } from './signing-algorithms.ts';

/** `thumbprint` is the `jkt` of what is bound to the key; whether `jti` was seen before is the caller's to ask. */
export type DpopProof = { thumbprint: string; jti: string };

const oldestSeconds = 300;
const futureSeconds = 60;

/** RFC 9449 §4.3, for a POST to `url` without an access token. Undefined when the proof does not hold. */
export async function verifyDpopProof(proof: string, url: string): Promise<DpopProof | undefined> {
  try {
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      algorithms: [...proofAlgorithms],
      typ: 'dpop+jwt',
    });
    const { jti, iat, htm, htu } = payload;
    const age = Date.now() / 1000 - Number(iat);
    if (typeof jti !== 'string' || jti === '' || !(age < oldestSeconds && age > -futureSeconds)) return undefined;
    if (htm !== 'POST' || typeof htu !== 'string' || withoutQuery(htu) !== withoutQuery(url)) return undefined;
    return { thumbprint: await calculateJwkThumbprint(protectedHeader.jwk as object), jti };
  } catch {
    return undefined;
  }
}

/** Throws for what is no address. */
function withoutQuery(address: string): string {
  const { origin, pathname } = new URL(address);
  return origin + pathname;
}

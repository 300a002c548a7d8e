import { randomBytes } from 'node:crypto';

/** A URL-safe secret of `bytes` random octets (256 bits unless told otherwise), as base64url text. */
export function randomToken(bytes = 32): string {
  return randomBytes(bytes).toString('base64url');
}

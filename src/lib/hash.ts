import { createHash, hash, timingSafeEqual } from 'node:crypto';

/** SHA-256 as base64url text: how every high-entropy credential is kept at rest. */
export function sha256(text: string): string {
  return hash('sha256', text, 'base64url');
}

/** Compares two texts in a time that depends on neither of them. */
export function equalInConstantTime(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
}

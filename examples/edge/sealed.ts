/**
 * 3. Values that are kept where others may read them. A JWE (RFC 7516) with AES-256-GCM hides them and shows any change;
 * its audience says what it was made for, so that one sealed value cannot be put in the place of another.
 */
import { base64url, EncryptJWT, errors, jwtDecrypt } from 'jose';
import type { Env } from './environment.ts';

const algorithms = { alg: 'dir', enc: 'A256GCM' };

/** `ends` is in seconds since 1970; afterwards it does not open any more. */
export function seal(env: Env, purpose: string, value: unknown, ends: number): Promise<string> {
  return new EncryptJWT({ value })
    .setProtectedHeader(algorithms)
    .setAudience(purpose)
    .setExpirationTime(ends)
    .encrypt(base64url.decode(env.SESSION_KEY));
}

/** Undefined for whatever this Worker did not seal for this purpose, or sealed too long ago. */
export async function unseal<Value>(env: Env, purpose: string, sealed: string): Promise<Value | undefined> {
  try {
    const { payload } = await jwtDecrypt<{ value: Value }>(sealed, base64url.decode(env.SESSION_KEY), {
      audience: purpose,
      requiredClaims: ['exp'],
      keyManagementAlgorithms: [algorithms.alg],
      contentEncryptionAlgorithms: [algorithms.enc],
    });
    return payload.value;
  } catch (error) {
    if (error instanceof errors.JOSEError) return undefined;
    throw error;
  }
}

/** 256 bits that nobody guesses. */
export function randomSecret(): string {
  return base64url.encode(crypto.getRandomValues(new Uint8Array(32)));
}

/** The name under which something is found by a secret without the secret being kept. */
export async function sha256(text: string): Promise<string> {
  return base64url.encode(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))));
}

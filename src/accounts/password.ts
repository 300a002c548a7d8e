import { createHash } from 'node:crypto';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { verifyImportedHash } from './imported-hashes.ts';

/** Written before bcrypt's own text, so that a stored hash says how it was made and later schemes can stand beside it. */
const scheme = '$bcrypt-sha384';

/** The hash to store. Throws `BusyError`. */
export async function hashPassword(bcrypt: Bcrypt, password: string): Promise<string> {
  return scheme + (await bcrypt.hash(digest(password)));
}

/**
 * True when `password` is the one that `stored` was made of, ours or imported. Without a stored hash it does the same
 * work at the configured cost and answers false, so that time does not tell accounts from strangers (SECURITY 49); for
 * the same reason a hash of ours or none costs as much as `decoy`, an imported one, on top. Throws `BusyError`.
 */
export async function verifyPassword(
  bcrypt: Bcrypt,
  password: string,
  stored: string | null | undefined,
  decoy?: string | null,
): Promise<boolean> {
  const ours = stored?.startsWith(scheme) ? stored.slice(scheme.length) : undefined;
  const imported = stored && ours === undefined ? stored : undefined;
  const matches = await bcrypt.compare(digest(password), ours ?? impossibleHash(bcrypt.rounds));
  const other = imported ?? decoy;
  const matchesOther = other ? await verifyImportedHash(bcrypt, password, other) : false;
  return imported ? matchesOther : matches && ours !== undefined;
}

/** True when the two are one password to `verifyPassword`. */
export function isSamePassword(one: string, other: string): boolean {
  return digest(one) === digest(other);
}

/** True when the configured cost is no longer the one `stored` was made with. */
export function needsRehash(bcrypt: Bcrypt, stored: string): boolean {
  return !stored.startsWith(`${scheme}$2b$${cost(bcrypt.rounds)}$`);
}

/**
 * bcrypt reads 72 bytes and stops at NUL. SHA-384 in base64 is 64 plain characters of all of the password; NFKC makes
 * it the same on every keyboard (SECURITY 55).
 */
function digest(password: string): string {
  return createHash('sha384').update(password.normalize('NFKC')).digest('base64');
}

/** Well formed, so bcrypt does all its work, and the image of no known text. */
function impossibleHash(rounds: number): string {
  return `$2b$${cost(rounds)}$${'.'.repeat(53)}`;
}

function cost(rounds: number): string {
  return String(rounds).padStart(2, '0');
}

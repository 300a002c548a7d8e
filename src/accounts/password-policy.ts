import { normalizeEmail } from './accounts.ts';
import type { BreachedPasswords } from './breached-passwords.ts';

const fewest = 8;
const most = 1024;

/**
 * `length`: 8 to 1024 characters. `common`: also not on the bundled list of leaked ones, nor the person's own name or
 * address, nor one of those with a number behind it. With a service all that, and not known there either.
 */
export type PasswordCheck = 'length' | 'common' | BreachedPasswords;

/** What is wrong with a new password, as a sentence for the person; undefined when nothing is. */
export async function checkPassword(
  password: string,
  check: PasswordCheck,
  owner: { email?: string; name?: string } = {},
): Promise<string | undefined> {
  const tooShortOrLong = checkPasswordLength(password);
  if (tooShortOrLong || check === 'length') return tooShortOrLong;
  const plain = plainForm(password);
  const word = plain.replace(/[\d\p{P}\p{S}]{1,5}$/u, '');
  const own = ownWords(owner);
  if (own.includes(plain) || own.includes(word)) return 'That’s your own name or address. Choose something else.';
  const common = await commonPasswords();
  if (common.has(plain)) return leaked;
  if (common.has(word)) return 'That’s a common password with a little behind it. A few words in a row work better.';
  if (isMonotonous(plain)) return 'That’s easy to guess. A few words in a row work better.';
  return check !== 'common' && (await check.breached(password)) ? leaked : undefined;
}

const leaked = 'This password has appeared in a leak. Choose another.';

/** Hardly any characters, or all of them neighbours: aaaaaaab, 87654321, abcdefghij. */
function isMonotonous(plain: string): boolean {
  const codes = [...plain].map((character) => character.codePointAt(0) ?? 0);
  const steps = new Set(codes.slice(1).map((code, index) => code - (codes[index] ?? 0)));
  return new Set(codes).size < 4 || steps.size === 1;
}

/** The part of the check that needs no list: length in characters, as a person counts them. */
export function checkPasswordLength(password: string): string | undefined {
  if (password === '') return 'Choose a password.';
  const length = [...password].length;
  if (length < fewest) return `That’s ${length} ${length === 1 ? 'character' : 'characters'}. Use at least ${fewest}.`;
  if (length > most) return `That’s ${length} characters. Use at most ${most}.`;
  return undefined;
}

function plainForm(text: string): string {
  return text.normalize('NFKC').trim().toLowerCase();
}

function ownWords({ email = '', name = '' }: { email?: string; name?: string }): string[] {
  const address = normalizeEmail(email);
  const fullName = plainForm(name);
  return [address, address.slice(0, address.lastIndexOf('@')), fullName, fullName.replace(/\s+/g, '')];
}

/** The bundled list, read when first needed: it takes some megabytes, and a server that checks lengths never does. */
async function commonPasswords(): Promise<ReadonlySet<string>> {
  list ??= import('@zxcvbn-ts/language-common').then(
    ({ dictionary }) => new Set(dictionary['passwords-common'].filter((password) => password.length >= fewest)),
  );
  return list;
}

let list: Promise<ReadonlySet<string>> | undefined;

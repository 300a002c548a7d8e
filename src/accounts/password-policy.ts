import { normalizeEmail } from './accounts.ts';

const fewest = 8;
const most = 1024;

/**
 * `length`: 8 to 1024 characters. `common`: also not on the bundled list of leaked ones, nor the person's own name or
 * address. `breached` includes `common`.
 */
export type PasswordCheck = 'length' | 'common' | 'breached';

/** What is wrong with a new password, as a sentence for the person; undefined when nothing is. */
export async function checkPassword(
  password: string,
  check: PasswordCheck,
  owner: { email?: string; name?: string } = {},
): Promise<string | undefined> {
  const tooShortOrLong = checkPasswordLength(password);
  if (tooShortOrLong || check === 'length') return tooShortOrLong;
  const plain = plainForm(password);
  if (ownWords(owner).includes(plain)) return 'That’s your own name or address. Choose something else.';
  if ((await commonPasswords()).has(plain)) return 'This password has appeared in a leak. Choose another.';
  return undefined;
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

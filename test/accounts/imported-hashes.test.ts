/** Hashes that other systems made: each is verified, bounded, and replaced by ours at the next sign-in. */
import { eq } from 'drizzle-orm';
import { afterAll, describe, expect, test } from 'vitest';
import { createAccount } from '../../src/accounts/accounts.ts';
import { importableHash, verifyImportedHash } from '../../src/accounts/imported-hashes.ts';
import { verifyPassword } from '../../src/accounts/password.ts';
import { users } from '../../src/db/schema.ts';
import { type Bcrypt, createBcryptPool } from '../../src/lib/bcrypt-pool.ts';
import { accountsBench } from './app.ts';

const pool = createBcryptPool({ rounds: 4 });
afterAll(() => pool.close());
const bench = accountsBench();
const { password } = bench;

const keycloak = (algorithm: string, hashIterations: number, value: string, more = {}) => ({
  type: 'password',
  credentialData: JSON.stringify({ algorithm, hashIterations, additionalParameters: more }),
  secretData: JSON.stringify({ value, salt: 'AQIDBAUGBwgJCgsMDQ4PEA==', additionalParameters: {} }),
});

/** Made with Python's hashlib, OpenSSL and the bcrypt package, or printed in the documentation of the system named. */
const hashes: [name: string, given: unknown, password: string][] = [
  ['bcrypt 2y (Laravel)', '$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi', 'password'],
  ['bcrypt 2a (John the Ripper)', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'U*U'],
  ['bcrypt 2b', '$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'U*U'],
  ['bcrypt (Django)', 'bcrypt$$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'U*U'],
  [
    'bcrypt over SHA-256 (Django)',
    'bcrypt_sha256$$2b$04$s26FELuZMgqRxtr973NEL.BK8TVmNkfiw6k.xXR94eWOPuue9hzC.',
    password,
  ],
  [
    'argon2id (reference implementation)',
    '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
    'password',
  ],
  [
    'argon2id',
    '$argon2id$v=19$m=8192,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$p/GwjbXtMaEd+EwS0TTxb1NNXpxXBlBQCjVoWGuZvJs',
    password,
  ],
  [
    'argon2id (Django)',
    'argon2$argon2id$v=19$m=8192,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$p/GwjbXtMaEd+EwS0TTxb1NNXpxXBlBQCjVoWGuZvJs',
    password,
  ],
  [
    'argon2i',
    '$argon2i$v=19$m=8192,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$UW47SlBOPXTJems0IlZeSD9X+/V2khL5WtJ3vF7pao0',
    password,
  ],
  [
    'argon2d',
    '$argon2d$v=19$m=8192,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$ctWcNWHippHIy1aknFgZWQ6Z7wwp+bt308D1Gj6KiMQ',
    password,
  ],
  [
    'argon2 (Keycloak)',
    keycloak('argon2', 2, 'rbdwcjzSwz2bNDDwMoZU33wBORNQJSb+lRHiwhElfGg=', {
      hashLength: ['32'],
      memory: ['8192'],
      type: ['id'],
      version: ['1.3'],
      parallelism: ['1'],
    }),
    password,
  ],
  [
    'PBKDF2 with SHA-256 (Keycloak)',
    keycloak(
      'pbkdf2-sha256',
      27500,
      'XUZWWOERKOllBHatlwJQ5G17H3XJ1wRoGhp0KOIZjOstgLLevF0OOVUvMGFqwjC92wblz9lENw1dkv78K4SMQg==',
    ),
    password,
  ],
  [
    'PBKDF2 with SHA-512 (Keycloak)',
    keycloak(
      'pbkdf2-sha512',
      10000,
      'NsGPaYb/fKAfABBndvJK4OgTq+v/NPzTzcSOhgy0/QvY4Yu366VkzjZimFI0jy52KwBiLraLroxRrcT/3rsYDg==',
    ),
    password,
  ],
  [
    'PBKDF2 with SHA-1 (Keycloak)',
    keycloak(
      'pbkdf2',
      20000,
      'Vpir0nn7w5N2XvJwDztUYnUoAQ6FAZEcMSLiY4jKFgsjNf3M0MUCW7iEXEtLGKbMR/azP3zDyDLVCDZjR9HtmQ==',
    ),
    password,
  ],
  [
    'PBKDF2 with SHA-256 (Django)',
    'pbkdf2_sha256$10000$Nq3sVbW8xYzK$q7nb0XLPMeEnKExbnoKjCiLsDL7oi6PZSZwxBDYLQHE=',
    password,
  ],
  ['PBKDF2 with SHA-1 (Django)', 'pbkdf2_sha1$10000$Nq3sVbW8xYzK$tMHJTTdS/NQhTy12cB3sJbjEKTs=', password],
  [
    'PBKDF2 (passlib)',
    '$pbkdf2-sha256$5000$..AQIDBAUGBwgJCgsMDQ$IpN3Feh4baEbmNa7spF.S483VBtvN4mzhCqVSYhhSIE',
    password,
  ],
  [
    'scrypt (Django)',
    'scrypt$16384$Nq3sVbW8xYzK$8$1$odJ+RHZRTtMj7kYX9zrRpr2oGYZDJ8Ducfm9fBHiLoNzUpZ0SjqjqZFsJqa1rrgfwjZNCLupEG7yakXfm4kjnA==',
    password,
  ],
  [
    'scrypt (passlib, PHC)',
    '$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E',
    'password',
  ],
];

test.each(hashes)('%s is true for its own password only', async (_name, given, right) => {
  const stored = importableHash(given) ?? '';
  expect(await verifyImportedHash(pool, right, stored)).toBe(true);
  expect(await verifyImportedHash(pool, `${right}x`, stored)).toBe(false);
});

const salt = 'c29tZXNhbHRzb21lc2FsdA';
const key = 'p/GwjbXtMaEd+EwS0TTxb1NNXpxXBlBQCjVoWGuZvJs';

describe('what is refused', () => {
  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['an empty text', ''],
    ['a password in clear', password],
    ['plain SHA-256', 'XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg='],
    ['bcrypt of a cost beyond ours', `$2b$16$${'a'.repeat(53)}`],
    ['argon2 of version 1.0', `$argon2id$v=16$m=8192,t=2,p=1$${salt}$${key}`],
    ['argon2 in a gibibyte', `$argon2id$v=19$m=1048576,t=1,p=1$${salt}$${key}`],
    ['argon2 that goes on and on', `$argon2id$v=19$m=262144,t=60,p=1$${salt}$${key}`],
    ['argon2 without memory', `$argon2id$v=19$m=1,t=2,p=1$${salt}$${key}`],
    ['PBKDF2 that goes on and on', `$pbkdf2-sha256$i=900000000$${salt}$${key}`],
    ['PBKDF2 over no rounds', `$pbkdf2-sha256$i=0$${salt}$${key}`],
    ['a number that is none', `$pbkdf2-sha256$i=${'9'.repeat(400)}$${salt}$${key}`],
    ['scrypt in a gibibyte', `$scrypt$ln=20,r=8,p=1$${salt}$${key}`],
    ['scrypt whose cost is no power of two', `scrypt$16383$salt$8$1$${key}`],
    ['a key that any password could meet', `$pbkdf2-sha256$i=1000$${salt}$AAAA`],
    ['a key of no bytes', `$pbkdf2-sha256$i=1000$${salt}$----`],
    ['Keycloak’s JSON of another algorithm', keycloak('pbkdf3', 1000, key)],
    ['Keycloak’s JSON with a broken part', { credentialData: '{', secretData: '{}' }],
    ['our own kind, which needs no import', `$bcrypt-sha384$2b$12$${'a'.repeat(53)}`],
    ['a hash that is as long as a book', `$argon2id$v=19$m=8192,t=2,p=1$${salt.repeat(99)}$${key}`],
  ])('%s', (_what, given) => {
    expect(importableHash(given)).toBeUndefined();
  });
});

describe('a person with an imported hash', () => {
  const imported = '$argon2id$v=19$m=8192,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$p/GwjbXtMaEd+EwS0TTxb1NNXpxXBlBQCjVoWGuZvJs';
  const importAccount = () =>
    createAccount(bench.db, { email: bench.email, name: 'Ada Moreno', passwordHash: imported, emailVerified: true });
  const signIn = (secret: string) => bench.program().post('/auth/login').send({ email: bench.email, password: secret });
  const storedHash = async () => {
    const [row] = await bench.db.select().from(users).where(eq(users.emailNormalized, bench.email));
    return row?.passwordHash;
  };

  test('signs in with the password they had, and from then on by a hash of ours', async () => {
    await importAccount();
    await signIn(`${password}x`).expect(401);
    expect(await storedHash()).toBe(imported);
    await signIn(password).expect(200);
    expect(await storedHash()).toMatch(/^\$bcrypt-sha384\$/);
    await signIn(`${password}x`).expect(401);
    await signIn(password).expect(200);
  });

  test('signs in however often at once, and one upgrade stays', async () => {
    await importAccount();
    const answers = await Promise.all([1, 2, 3].map(() => signIn(password)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(await verifyPassword(pool, password, await storedHash())).toBe(true);
  });
});

test('accounts and strangers cost the same while imported hashes are left (SECURITY 49)', async () => {
  const work: string[] = [];
  const counting: Bcrypt = {
    ...pool,
    compare: (text, hash) => {
      work.push('bcrypt');
      return pool.compare(text, hash);
    },
    derive: (text, derivation) => {
      work.push(derivation.kind);
      return pool.derive(text, derivation);
    },
  };
  const imported = `$pbkdf2-sha256$i=1000$${salt}$${key}`;
  const ours = `$bcrypt-sha384${await pool.hash('something else')}`;
  for (const stored of [undefined, null, imported, ours]) {
    work.length = 0;
    expect(await verifyPassword(counting, 'wrong', stored, imported)).toBe(false);
    expect([stored, work]).toEqual([stored, ['bcrypt', 'pbkdf2']]);
  }
  // A stranger's hash as decoy never opens anything.
  const decoy = importableHash('$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW') ?? '';
  expect(await verifyPassword(pool, 'U*U', undefined, decoy)).toBe(false);
  expect(await verifyPassword(pool, 'U*U', ours, decoy)).toBe(false);
});

import { afterAll, describe, expect, test } from 'vitest';
import { hashPassword, needsRehash, verifyPassword } from '../../src/accounts/password.ts';
import { checkPassword, checkPasswordLength } from '../../src/accounts/password-policy.ts';
import { type Bcrypt, createBcryptPool } from '../../src/lib/bcrypt-pool.ts';

const pool = createBcryptPool({ rounds: 4 });
afterAll(() => pool.close());

describe('stored passwords', () => {
  test('a hash says how it was made and is true for its own password only', async () => {
    const stored = await hashPassword(pool, 'correct horse battery');
    expect(stored).toMatch(/^\$bcrypt-sha384\$2b\$04\$.{53}$/);
    expect(await verifyPassword(pool, 'correct horse battery', stored)).toBe(true);
    expect(await verifyPassword(pool, 'Correct horse battery', stored)).toBe(false);
  });

  test('every character counts, beyond 72 bytes and behind a NUL too (SECURITY 55)', async () => {
    const long = await hashPassword(pool, `${'x'.repeat(1000)}a`);
    expect(await verifyPassword(pool, `${'x'.repeat(1000)}a`, long)).toBe(true);
    expect(await verifyPassword(pool, `${'x'.repeat(1000)}b`, long)).toBe(false);
    const withNul = await hashPassword(pool, 'before\0after');
    expect(await verifyPassword(pool, 'before\0other', withNul)).toBe(false);
  });

  test('one password typed on two keyboards is one password (NFKC)', async () => {
    const composed = await hashPassword(pool, 'caf\u00e9 cr\u00e8me');
    expect(await verifyPassword(pool, 'cafe\u0301 cre\u0300me', composed)).toBe(true);
  });

  test('without a stored hash, or with one of another make, the work is done and the answer is no (SECURITY 49)', async () => {
    const compared: string[] = [];
    const counting: Bcrypt = {
      ...pool,
      compare: (text, hash) => {
        compared.push(hash);
        return pool.compare(text, hash);
      },
    };
    expect(await verifyPassword(counting, 'anything', undefined)).toBe(false);
    expect(await verifyPassword(counting, 'anything', null)).toBe(false);
    expect(await verifyPassword(counting, 'anything', '$argon2id$v=19$m=65536$abc$def')).toBe(false);
    expect(compared).toHaveLength(3);
    for (const hash of compared) expect(hash).toMatch(/^\$2b\$04\$.{53}$/);
  });

  test('a hash of another cost is due for a new one', async () => {
    const stored = await hashPassword(pool, 'correct horse battery');
    expect(needsRehash(pool, stored)).toBe(false);
    expect(needsRehash({ ...pool, rounds: 5 }, stored)).toBe(true);
  });
});

describe('new passwords', () => {
  test('8 to 1024 characters are accepted, counted as a person counts them', () => {
    expect(checkPasswordLength('')).toBe('Choose a password.');
    expect(checkPasswordLength('a')).toBe('That’s 1 character. Use at least 8.');
    expect(checkPasswordLength('secret')).toBe('That’s 6 characters. Use at least 8.');
    expect(checkPasswordLength('🔑🔑🔑🔑🔑🔑🔑')).toBe('That’s 7 characters. Use at least 8.');
    expect(checkPasswordLength('12345678')).toBeUndefined();
    expect(checkPasswordLength('x'.repeat(1024))).toBeUndefined();
    expect(checkPasswordLength('x'.repeat(1025))).toBe('That’s 1025 characters. Use at most 1024.');
  });

  test.each(['password1', 'PASSWORD1', 'iloveyou', 'qwertyuiop', 'football1'])(
    '%s is known from leaks',
    async (password) => {
      expect(await checkPassword(password, 'common')).toBe('This password has appeared in a leak. Choose another.');
      const breached = { breached: () => Promise.reject(new Error('need not be asked')) };
      expect(await checkPassword(password, breached)).toBe('This password has appeared in a leak. Choose another.');
      expect(await checkPassword(password, 'length')).toBeUndefined();
    },
  );

  test.each(['ada@moreno.example', 'Ada@Moreno.Example', 'Ada Moreno', 'adamoreno'])(
    '%s is the person’s own',
    async (password) => {
      const owner = { email: 'ada@moreno.example', name: 'Ada Moreno' };
      expect(await checkPassword(password, 'common', owner)).toMatch(/your own name or address/);
    },
  );

  test.each([
    ['Sunshine2026!', /a common password with a little behind it/],
    ['ada.moreno99', /your own name or address/],
    ['aaaaaaaaab', /easy to guess/],
    ['mnopqrstuvw', /easy to guess/],
    ['98765432', /leak|easy to guess/],
  ])('%s is hardly better', async (password, words) => {
    const owner = { email: 'ada.moreno@moreno.example', name: 'Ada' };
    expect(await checkPassword(password, 'common', owner)).toMatch(words);
  });

  test('a few words in a row are fine', async () => {
    const owner = { email: 'ada@moreno.example', name: 'Ada Moreno' };
    expect(await checkPassword('tram window salt piano', 'common', owner)).toBeUndefined();
  });
});

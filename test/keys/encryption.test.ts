import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createEncryption, DecryptionError } from '../../src/keys/encryption.ts';

const key = randomBytes(32);

test('what was sealed opens again, for its own purpose only', () => {
  const encryption = createEncryption([key]);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.string(), (plain, purpose, other) => {
      const sealed = encryption.encrypt(plain, purpose);
      expect(encryption.decrypt(sealed, purpose)).toBe(plain.toWellFormed());
      if (other !== purpose) expect(() => encryption.decrypt(sealed, other)).toThrow(DecryptionError);
    }),
  );
});

test('the same text never looks the same twice', () => {
  const encryption = createEncryption([key]);
  expect(encryption.encrypt('a', 'p')).not.toBe(encryption.encrypt('a', 'p'));
});

test('a changed byte is noticed', () => {
  const encryption = createEncryption([key]);
  const [version, id, body = ''] = encryption.encrypt('secret', 'p').split('.');
  const bytes = Buffer.from(body, 'base64url');
  for (const [i, byte] of bytes.entries()) {
    const changed = Buffer.from(bytes);
    changed[i] = byte ^ 1;
    expect(() => encryption.decrypt(`${version}.${id}.${changed.toString('base64url')}`, 'p')).toThrow(DecryptionError);
  }
});

test('after a key rotation old texts open, new ones need the new key', () => {
  const [older, newer] = [randomBytes(32), randomBytes(32)];
  const old = createEncryption([older]).encrypt('secret', 'p');
  const rotated = createEncryption([newer, older]);
  expect(rotated.decrypt(old, 'p')).toBe('secret');
  expect(() => createEncryption([older]).decrypt(rotated.encrypt('secret', 'p'), 'p')).toThrow(DecryptionError);
});

/**
 * Keys: the signing keys of the provider and the encryption that keeps them, and everything else that must be read
 * back, unreadable in the database. Nothing in this folder knows about tokens or people.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

export type Encryption = {
  /** Seals `plain` for one `purpose`; a text sealed for one purpose does not open for another. */
  encrypt(plain: string, purpose: string): string;
  /** Opens what `encrypt` made with any of the configured keys. Throws `DecryptionError`. */
  decrypt(sealed: string, purpose: string): string;
  /** Which key opens a sealed text: the first, one of the older ones, or none that is configured. */
  sealedBy(sealed: string): SealedBy;
};

export type SealedBy = 'first' | 'older' | 'unknown';

export class DecryptionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DecryptionError';
  }
}

const version = 'v1';
const ivBytes = 12;
const tagBytes = 16;

/** AES-256-GCM under the first of `keys` (32 bytes each); the others still open what they once sealed. */
export function createEncryption(keys: readonly Buffer[]): Encryption {
  const ring = keys.map((key) => ({ key, id: createHash('sha256').update(key).digest('base64url').slice(0, 8) }));
  const [current] = ring;
  if (!current) throw new Error('createEncryption needs at least one key');

  return {
    encrypt(plain, purpose) {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv('aes-256-gcm', current.key, iv).setAAD(Buffer.from(purpose));
      const body = Buffer.concat([iv, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return [version, current.id, body.toString('base64url')].join('.');
    },
    decrypt(sealed, purpose) {
      const [sealedVersion, keyId, text] = sealed.split('.');
      const entry = ring.find(({ id }) => id === keyId);
      if (sealedVersion !== version || !entry || !text) {
        throw new DecryptionError('sealed with an encryption key that is not configured (OIDC_ENCRYPTION_KEY)');
      }
      const body = Buffer.from(text, 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', entry.key, body.subarray(0, ivBytes))
        .setAAD(Buffer.from(purpose))
        .setAuthTag(body.subarray(-tagBytes));
      try {
        return decipher.update(body.subarray(ivBytes, -tagBytes), undefined, 'utf8') + decipher.final('utf8');
      } catch (cause) {
        throw new DecryptionError('the sealed text was changed or belongs to something else', { cause });
      }
    },
    sealedBy(sealed) {
      const [, keyId] = sealed.split('.');
      if (keyId === current.id) return 'first';
      return ring.some(({ id }) => id === keyId) ? 'older' : 'unknown';
    },
  };
}

/** Ways from a password to a key that other systems store; ours is bcrypt. These calls block: they are for the threads of the pool. */
import { argon2Sync, pbkdf2Sync, scryptSync } from 'node:crypto';

/** How a key is derived. Bytes are in base64; `keyLength` is in bytes and `memoryKib` in kibibytes. */
export type Derivation = { salt: string; keyLength: number } & (
  | { kind: 'argon2'; type: 'argon2d' | 'argon2i' | 'argon2id'; memoryKib: number; passes: number; lanes: number }
  | { kind: 'pbkdf2'; digest: 'sha1' | 'sha256' | 'sha512'; iterations: number }
  | { kind: 'scrypt'; cost: number; blockSize: number; lanes: number }
);

/** The key of `password`, in base64. */
export function deriveKey(password: string, derivation: Derivation): string {
  return keyBytes(password, derivation).toString('base64');
}

function keyBytes(password: string, how: Derivation): Buffer {
  const salt = Buffer.from(how.salt, 'base64');
  switch (how.kind) {
    case 'argon2':
      return argon2Sync(how.type, {
        message: password,
        nonce: salt,
        parallelism: how.lanes,
        tagLength: how.keyLength,
        memory: how.memoryKib,
        passes: how.passes,
      });
    case 'pbkdf2':
      return pbkdf2Sync(password, salt, how.iterations, how.keyLength, how.digest);
    case 'scrypt': {
      const { cost, blockSize, lanes } = how;
      // Node wants a little more than the algorithm's own 128 N r.
      const maxmem = 128 * blockSize * (cost + lanes + 2);
      return scryptSync(password, salt, how.keyLength, { cost, blockSize, parallelization: lanes, maxmem });
    }
  }
}

/**
 * Client secrets: made here, kept as bcrypt, compared without paying bcrypt on every token request. What was right once
 * is remembered as a keyed digest; what is wrong pays in full each time.
 */
import { hash } from 'node:crypto';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { randomToken } from '../lib/random.ts';

/** A new secret of 256 bits, 43 characters, with its bcrypt hash. Throws `BusyError`. */
export async function issueClientSecret(bcrypt: Bcrypt): Promise<{ secret: string; secretHash: string }> {
  const secret = randomToken();
  return { secret, secretHash: await bcrypt.hash(secret) };
}

/**
 * What the protocol library gets where it insists on a secret in clear. Nobody can present it and nobody can sign with
 * it: it is random, this process's own and stored nowhere.
 */
export const placeholderSecret = randomToken();

export type SecretVerifier = {
  /**
   * True when `presented` is the secret of one of the stored hashes, which are the client's as they are now: memory is
   * kept per hash, so a secret that is no longer stored is refused at once. Throws `BusyError`.
   */
  verify(secretHashes: readonly string[], presented: string): Promise<boolean>;
};

/** More clients than these in one process only means paying bcrypt for some of them again. */
const maxRemembered = 5_000;

/** @param bcrypt a lane of the pool of its own, so that a flood of wrong secrets does not hold up sign-ins */
export function createSecretVerifier({ bcrypt }: { bcrypt: Bcrypt }): SecretVerifier {
  // Leaves the process with it: nothing that is remembered can be tried against offline.
  const key = randomToken();
  // SHA-256 over a secret prefix is no MAC for messages that others see; these digests nobody sees. An HMAC takes four times as long.
  const digestOf = (secretHash: string, secret: string) => hash('sha256', `${key}\0${secretHash}\0${secret}`, 'base64');
  /** The digest that was right, by stored hash; the one used longest ago comes first. */
  const remembered = new Map<string, string>();
  const underWay = new Map<string, Promise<boolean>>();

  async function matches(secretHash: string, presented: string): Promise<boolean> {
    const digest = digestOf(secretHash, presented);
    // Digests under a random key: the time their comparison takes tells nothing about the secret.
    if (remembered.get(secretHash) === digest) {
      remember(secretHash, digest);
      return true;
    }
    const earlier = underWay.get(digest);
    if (earlier) return earlier;
    const comparison = bcrypt.compare(presented, secretHash).finally(() => underWay.delete(digest));
    underWay.set(digest, comparison);
    const right = await comparison;
    if (right) remember(secretHash, digest);
    return right;
  }

  function remember(secretHash: string, digest: string): void {
    remembered.delete(secretHash);
    remembered.set(secretHash, digest);
    const [oldest] = remembered.keys();
    if (remembered.size > maxRemembered && oldest !== undefined) remembered.delete(oldest);
  }

  return {
    async verify(secretHashes, presented) {
      // bcrypt stops reading at 72 bytes and at NUL, so a longer text could pass for a shorter one.
      if (Buffer.byteLength(presented) > 72 || presented.includes('\0')) return false;
      for (const secretHash of secretHashes) {
        if (await matches(secretHash, presented)) return true;
      }
      return false;
    },
  };
}

import type { Database } from '../db/database.ts';
import { createEncryption, type Encryption } from '../keys/encryption.ts';
import { keyPurpose, lacks, type RingKey, ringKeys, rotatesAt } from '../keys/key-ring.ts';
import { countSecrets } from '../keys/re-encryption.ts';
import { readBroughtKey, ringAlgorithms } from '../keys/signing-keys.ts';
import { type DoctorConfig, type Finding, ok, problem, warning } from './finding.ts';

/** Servers look every minute. */
const overdueMs = 60 * 60 * 1000;

export async function checkKeys(db: Database, config: DoctorConfig): Promise<Finding[]> {
  const encryption = createEncryption(config.encryptionKeys);
  const keys = await ringKeys(db);
  const secrets = await countSecrets(db, encryption);
  return [await checkRing(keys, encryption, config), checkSecrets(secrets)];
}

async function checkRing(keys: RingKey[], encryption: Encryption, config: DoctorConfig): Promise<Finding> {
  const closed = keys.filter((key) => key.state !== 'revoked' && !opens(key, encryption));
  if (closed.length > 0) {
    return problem(
      'keys',
      `${closed.length} of the signing keys cannot be opened: OIDC_ENCRYPTION_KEY is not the one they were stored under.`,
      'Set OIDC_ENCRYPTION_KEY to that key, or put it behind the new one: OIDC_ENCRYPTION_KEY=new,old.',
    );
  }
  const algorithms = ringAlgorithms(await readBroughtKey(config.jwksPrivateKey));
  const missing = lacks(keys, algorithms);
  if (missing.some(({ state }) => state === 'current')) {
    return warning('keys', 'There are no signing keys yet.', 'Start the server, which makes them: `npm start`.');
  }
  const overdue = keys.filter((key) => key.state === 'current' && rotatesAt(key).getTime() < Date.now() - overdueMs);
  // A first start leaves some to the first look.
  const lacking = missing.filter(() => keys.some(({ createdAt }) => createdAt.getTime() < Date.now() - overdueMs));
  if (lacking.length > 0 || overdue.length > 0) {
    const late = overdue.map(({ alg }) => alg).join(', ');
    return warning(
      'keys',
      late ? `The rotation of ${late} is overdue.` : `No key waits for ${lacking.map(({ alg }) => alg).join(', ')}.`,
      'Let a server run, which tends its keys every minute; `npm run latchkey -- keys rotate` does it now.',
    );
  }
  const signing = keys.filter(({ state }) => state === 'current');
  const next = signing.map(rotatesAt).sort((a, b) => +a - +b)[0];
  const when = next ? `, and the next rotation is on ${next.toISOString().slice(0, 10)}` : '';
  return ok('keys', `${signing.length} keys sign${config.jwksPrivateKey ? ' beside JWKS_PRIVATE_KEY' : ''}${when}.`);
}

function opens({ kid, privateJwkEncrypted }: RingKey, encryption: Encryption): boolean {
  try {
    encryption.decrypt(privateJwkEncrypted ?? '', keyPurpose(kid));
    return true;
  } catch {
    return false;
  }
}

function checkSecrets({ older, unknown }: { older: number; unknown: number }): Finding {
  if (unknown > 0) {
    return problem(
      'encryption',
      `${unknown} other secrets, such as those of authenticator apps, cannot be opened with OIDC_ENCRYPTION_KEY.`,
      'Put the key before behind the new one: OIDC_ENCRYPTION_KEY=new,old.',
    );
  }
  if (older === 0) return ok('encryption', 'All that is kept sealed is sealed under the first OIDC_ENCRYPTION_KEY.');
  return warning(
    'encryption',
    `${older} secrets are sealed under an older OIDC_ENCRYPTION_KEY.`,
    'Run `npm run latchkey -- keys re-encrypt` before you take that key off the list.',
  );
}

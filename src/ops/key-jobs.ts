import type { Logger } from 'pino';
import type { Database } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import { tendRing } from '../keys/key-ring.ts';
import { reEncrypt } from '../keys/re-encryption.ts';
import { readBroughtKey, ringAlgorithms } from '../keys/signing-keys.ts';
import type { Background } from '../lib/background.ts';

type Dependencies = {
  db: Database;
  encryption: Encryption;
  config: { jwksPrivateKey: string | undefined; encryptionKeys: readonly Buffer[] };
  background: Background;
  log: Pick<Logger, 'info'>;
};

const tendEveryMs = 60_000;

/** What every instance does about keys by itself: it tends the ring in turn with the others, and keeps its encryption new. */
export function startKeyJobs({ db, encryption, config, background, log }: Dependencies): void {
  background.repeat('tending the key ring', tendEveryMs, async () =>
    tendRing(db, encryption, ringAlgorithms(await readBroughtKey(config.jwksPrivateKey))),
  );
  if (config.encryptionKeys.length > 1) background.run('encrypting again', renewEncryption);

  async function renewEncryption(): Promise<void> {
    const { reEncrypted, unreadable } = await reEncrypt(db, encryption);
    log.info(
      { re_encrypted: reEncrypted, ...(unreadable > 0 && { unreadable }) },
      'OIDC_ENCRYPTION_KEY: nothing that lasts needs the older keys; in an hour they may be taken off the list',
    );
  }
}

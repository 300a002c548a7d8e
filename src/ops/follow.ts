import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { listAuthorizationDetailsTypes } from '../apis/authorization-details-types.ts';
import { type Database, reasonOf } from '../db/database.ts';
import { signingKeyIds } from '../keys/signing-keys.ts';
import type { Background } from '../lib/background.ts';
import type { ProviderHandle } from '../oidc/provider.ts';

type Dependencies = {
  db: Database;
  config: { jwksPrivateKey: string | undefined };
  provider: Pick<ProviderHandle, 'keyIds' | 'authorizationDetailsTypes' | 'reload'>;
  background: Background;
  log: Pick<Logger, 'info' | 'warn'>;
};

const everyMs = 2_000;

/**
 * What a provider is made of can be changed by another instance or by the command line. Every instance looks every few
 * seconds, and serves what is stored then. What keeps it from that is told once, not every time.
 */
export function followStored({ db, config, provider, background, log }: Dependencies): void {
  const changed: Record<string, () => Promise<boolean>> = {
    'signing keys': async () => !isDeepStrictEqual(await signingKeyIds(db, config.jwksPrivateKey), provider.keyIds),
    'types of authorization details': async () =>
      !isDeepStrictEqual(await listAuthorizationDetailsTypes(db), provider.authorizationDetailsTypes),
  };
  let told: string | undefined;
  background.repeat('following what is stored', everyMs, async () => {
    try {
      for (const [what, hasChanged] of Object.entries(changed)) {
        if (!(await hasChanged())) continue;
        await provider.reload();
        log.info({ what }, 'changed elsewhere, and served from now on');
      }
      told = undefined;
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== told) log.warn({ reason }, 'what changed elsewhere cannot be followed; all stays as it was');
      told = reason;
    }
  });
}

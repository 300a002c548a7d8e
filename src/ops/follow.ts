import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { listAuthorizationDetailsTypes } from '../apis/authorization-details-types.ts';
import { type Database, reasonOf } from '../db/database.ts';
import type { Notices } from '../db/notices.ts';
import { signingKeyIds } from '../keys/signing-keys.ts';
import type { Background } from '../lib/background.ts';
import type { ProviderHandle } from '../oidc/provider.ts';

type Dependencies = {
  db: Database;
  notices: Notices;
  config: { jwksPrivateKey: string | undefined };
  provider: Pick<ProviderHandle, 'keyIds' | 'authorizationDetailsTypes' | 'reload'>;
  background: Background;
  log: Pick<Logger, 'info' | 'warn'>;
};

const everyMs = 2_000;
/** While notices of changes arrive, looking is for the one that was lost. */
const everyMsWithNotices = 10_000;

/**
 * What a provider is made of can be changed by another instance or by the command line. Every instance looks when it is
 * told of a change, and every few seconds, and serves what is stored then. What keeps it from that is told once, not every
 * time.
 */
export function followStored({ db, notices, config, provider, background, log }: Dependencies): void {
  const changed: Record<string, () => Promise<boolean>> = {
    'signing keys': async () => !isDeepStrictEqual(await signingKeyIds(db, config.jwksPrivateKey), provider.keyIds),
    'types of authorization details': async () =>
      !isDeepStrictEqual(await listAuthorizationDetailsTypes(db), provider.authorizationDetailsTypes),
  };
  let told: string | undefined;
  let quietUntil = 0;
  const follow = async () => {
    if (notices.arriving() && performance.now() < quietUntil) return;
    // Before looking: a notice that comes meanwhile wants another look.
    quietUntil = performance.now() + everyMsWithNotices;
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
      quietUntil = 0;
    }
  };
  const { wake } = background.repeat('following what is stored', everyMs, follow, { everyProcess: true });
  for (const table of ['signing_keys', 'authorization_details_types'] as const) {
    notices.subscribe(table, () => {
      quietUntil = 0;
      wake();
    });
  }
}

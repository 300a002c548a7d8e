import type { Logger } from 'pino';
import { chainEvents, readChain, type TakenIn } from '../audit/chain.ts';
import { removeOldEvents } from '../audit/retention.ts';
import { type Database, reasonOf } from '../db/database.ts';
import type { Background } from '../lib/background.ts';

type Dependencies = {
  db: Database;
  config: { auditRetentionDays: number };
  /** The secret of the chain's seal. */
  key: string;
  /** Told of every event of all instances once, by the one that takes it into the chain. */
  countEvents: (events: readonly TakenIn[]) => void;
  background: Background;
  log: Pick<Logger, 'info' | 'warn'>;
};

const chainEveryMs = 2_000;
const shortenEveryMs = 60 * 60 * 1000;

/** Every instance takes events into the chain, whichever comes first, and removes what is older than the policy keeps. */
export function startAuditJobs({ db, config, key, countEvents, background, log }: Dependencies): void {
  let told: string | undefined;
  background.repeat('chaining the audit log', chainEveryMs, async () => {
    try {
      await chainEvents(db, key, countEvents);
      told = undefined;
    } catch (error) {
      // Told once, not every two seconds.
      const reason = reasonOf(error);
      if (reason !== told) log.warn({ reason }, 'audit events wait to be chained');
      told = reason;
    }
  });
  background.repeat('shortening the audit log', shortenEveryMs, async () => {
    await removeOldEvents(db, key, config.auditRetentionDays);
    const chain = await readChain(db);
    // Wherever logs are kept, this place is kept too: `audit verify --expect` holds the chain against it.
    if (chain) log.info({ position: chain.headPosition, hash: chain.headHash }, 'end of the audit log');
  });
}

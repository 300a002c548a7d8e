/**
 * What is kept for how long: the one list of all rows that come and go by themselves. `sweep.ts` deletes what is over, and
 * docs/storage.md shows the list. Nothing here decides what works: an expired row is absent for every request at once.
 */
import { getTableName, sql } from 'drizzle-orm';
import { forgottenTries } from '../accounts/attempt-counts.ts';
import { deleteDueAccounts, dueAccounts } from '../accounts/deletion.ts';
import { deleteUnusedClients, unusedClients, unusedDays } from '../clients/unused-clients.ts';
import type { Database } from '../db/database.ts';
import { type Batch, type Deleted, deleteExpired, type Expiring } from '../db/expired.ts';
import {
  emailTokens,
  initialAccessTokens,
  mails,
  oidcInteraction,
  passkeyChallenges,
  playgroundRuns,
  rememberedDevices,
} from '../db/schema.ts';
import { eraseAccount } from '../oidc/account-sessions.ts';
import { deleteExpiredArtifacts, expiringArtifacts } from '../oidc/expired-artifacts.ts';
import { deleteExpiredSessions, endedSessions, expiringSessions, retiredSessionIds } from '../oidc/expired-sessions.ts';

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** Least that anything is kept once it is over: clocks of instances differ, and requests are under way. */
const atLeast = 15 * minute;

export type Retention = Expiring & {
  /** What is over, in words. */
  what: string;
  /** For so long after that it stays. */
  keptSeconds: number;
  why: string;
  /** Rows of one transaction. */
  batchSize: number;
  deleteBatch(db: Database, batch: Batch): Promise<Deleted>;
  /** `at` does not tell since when: these rows say nothing about how far the sweep is behind. */
  overSinceUnknown?: true;
};

type Rule = Pick<Retention, 'what' | 'keptSeconds' | 'why' | 'overSinceUnknown'> &
  Partial<Pick<Retention, 'batchSize' | 'deleteBatch'>>;

function retain(expiring: Expiring, rule: Rule): Retention {
  return { batchSize: 1_000, deleteBatch: (db, batch) => deleteExpired(db, expiring, batch), ...expiring, ...rule };
}

export const retentions: readonly Retention[] = [
  retain(expiringArtifacts, {
    what: 'tokens, codes, grants, pushed requests and proofs that were presented, once expired',
    keptSeconds: atLeast,
    why: 'used ones stay until they expire, so that a second use is seen; a grant goes earlier, with its session or its last refresh token',
    deleteBatch: deleteExpiredArtifacts,
  }),
  retain(expiringSessions, {
    what: 'sessions, once expired',
    keptSeconds: atLeast,
    why: 'nothing comes of them',
    batchSize: 250,
    deleteBatch: (db, batch) => deleteExpiredSessions(db, expiringSessions, batch),
  }),
  retain(endedSessions, {
    what: 'sessions that were ended',
    keptSeconds: day,
    why: 'a request still under way must not bring one back',
    batchSize: 250,
    deleteBatch: (db, batch) => deleteExpiredSessions(db, endedSessions, batch),
  }),
  retain(retiredSessionIds, {
    what: 'cookie values of a session that have a successor',
    keptSeconds: atLeast,
    why: 'other tabs are under way with them',
  }),
  retain(
    { table: oidcInteraction, at: oidcInteraction.expiresAt },
    {
      what: 'questions to a person, answered or not, once expired',
      keptSeconds: day,
      why: 'who comes back to a tab of yesterday is offered a way on',
    },
  ),
  retain(forgottenTries, {
    what: 'counters of requests and of wrong tries, once over',
    keptSeconds: atLeast,
    why: 'nothing is counted on',
  }),
  retain(
    { table: emailTokens, at: emailTokens.expiresAt },
    { what: 'links in mails that nobody used, once expired', keptSeconds: atLeast, why: 'they open nothing' },
  ),
  retain(
    { table: passkeyChallenges, at: passkeyChallenges.expiresAt },
    { what: 'challenges to passkeys that nobody answered', keptSeconds: atLeast, why: 'no answer is taken any more' },
  ),
  retain(
    { table: rememberedDevices, at: rememberedDevices.expiresAt },
    {
      what: 'browsers that are asked for the second factor again',
      keptSeconds: atLeast,
      why: 'they count for nothing',
    },
  ),
  retain(
    { table: mails, at: mails.keptAt },
    { what: 'mails on the outbox page of development', keptSeconds: 7 * day, why: 'they are there to be looked at' },
  ),
  retain(
    { table: initialAccessTokens, at: initialAccessTokens.expiresAt },
    {
      what: 'initial access tokens, once expired',
      keptSeconds: 30 * day,
      why: 'an operator who looks for one sees what became of it',
    },
  ),
  retain(
    {
      table: initialAccessTokens,
      at: initialAccessTokens.createdAt,
      where: () => sql`${initialAccessTokens.usesLeft} <= 0`,
    },
    {
      what: 'initial access tokens that are used up, once made',
      keptSeconds: 30 * day,
      why: 'the same',
      overSinceUnknown: true,
    },
  ),
  retain(unusedClients, {
    what: 'clients that registered themselves and never got a token',
    keptSeconds: unusedDays * day,
    why: 'a developer may take a while; then they are gone at once, and deleted with a record of it',
    batchSize: 100,
    deleteBatch: deleteUnusedClients,
  }),
  retain(dueAccounts, {
    what: 'accounts that their person has deleted, two weeks later',
    keptSeconds: 0,
    why: 'until then signing in takes it back',
    batchSize: 10,
    deleteBatch: async (db, { before, limit }) => ({
      deleted: await deleteDueAccounts({ db, eraseAccount }, { before, limit }),
    }),
  }),
  retain(
    { table: playgroundRuns, at: playgroundRuns.expiresAt },
    { what: 'runs of the playground, an hour after they began', keptSeconds: atLeast, why: 'nobody sees them' },
  ),
];

/** The tables that no sweep looks at, and what keeps each of them from growing without bound. */
export const lasting: Readonly<Record<string, string>> = {
  users: 'one row a person; who does not confirm the address is none',
  totp_secrets: 'one row an account at most',
  recovery_codes: 'one set an account, replaced by the next',
  passkeys: 'a few an account, which its person names and removes',
  client_logos: 'one row a client at most, which goes with it',
  consents: 'one row for an account and a client, which goes with either',
  oidc_clients: 'clients that are used, or the operator’s; deleted by their owners',
  client_apis: 'the operator’s',
  apis: 'the operator’s',
  token_exchange_permissions: 'the operator’s',
  authorization_details_types: 'the operator’s',
  backchannel_logouts: 'a queue: each is delivered, or given up after a day',
  mails: 'a queue: each is sent, or given up after three days',
  signing_keys: 'a few an algorithm; the key ring removes those that verify nothing any more',
  audit_events: 'kept for AUDIT_RETENTION_DAYS; the chain must stay whole, so it is shortened by a job of its own',
  audit_chain: 'one row',
  provider_secrets: 'a few rows, for ever',
  leases: 'one row for each kind of work that one instance does for all',
};

export function tableNameOf({ table }: Pick<Retention, 'table'>): string {
  return getTableName(table);
}

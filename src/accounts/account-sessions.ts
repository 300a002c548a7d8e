/**
 * Where a person is signed in, in words. A session's uid stays inside: pages and forms name it by a handle, which tells
 * nothing and, without a cookie of the same person, ends nothing.
 */
import type { AuditSource } from '../audit/events.ts';
import type { Pages } from '../http/views.ts';
import { sha256 } from '../lib/hash.ts';
import { describeUserAgent } from '../lib/user-agent.ts';

/** A live session. `userAgent` and `address` are those of its last sign-in; `lastSeenAt` is right to the hour. */
export type AccountSession = {
  uid: string;
  userAgent: string | undefined;
  address: string | undefined;
  signedInAt: Date;
  lastSeenAt: Date;
};

/** What can be done about an account's sessions; clients are told of each end. */
export type AccountSessions = {
  /** The last used first. */
  list(accountId: string): Promise<AccountSession[]>;
  end(accountId: string, uid: string, source: AuditSource): Promise<void>;
  endOthers(accountId: string, uid: string, source: AuditSource): Promise<void>;
  /** Ends every session of the account and everything that clients hold for it. */
  endAll(accountId: string, source: AuditSource): Promise<void>;
};

export function handleOf(uid: string): string {
  return sha256(`session:${uid}`).slice(0, 22);
}

/** The sessions for the page, this browser's first. */
export function describeSessions(
  sessions: readonly AccountSession[],
  ownUid: string,
): Pages['account-sessions']['sessions'] {
  const rows = sessions.map(({ uid, userAgent, address, signedInAt, lastSeenAt }) => {
    const { words, kind } = describeUserAgent(userAgent);
    return { handle: handleOf(uid), device: words, kind, address, signedInAt, lastSeenAt, own: uid === ownUid };
  });
  return [...rows.filter(({ own }) => own), ...rows.filter(({ own }) => !own)];
}

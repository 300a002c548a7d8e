import type { Database } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import { describeUserAgent } from '../lib/user-agent.ts';
import type { NoticeFacts, NoticeKind } from './mails.ts';
import { enqueueMail } from './queue.ts';

/**
 * Tells a person that something about their account changed (SECURITY 56), in the transaction of the change. To tell
 * another address than the account's own (the one before a change), pass it as `email`.
 */
export async function notifyAccount(
  db: Database,
  encryption: Encryption,
  account: { id: string; email: string },
  kind: NoticeKind,
  { source, detail, until, undoPath }: NoticeFacts = {},
  now = new Date(),
): Promise<void> {
  const data = {
    kind,
    at: now.toISOString(),
    address: source?.address,
    device: source?.userAgent && describeUserAgent(source.userAgent).words,
    detail,
    until: until?.toISOString(),
    undoPath,
  };
  await enqueueMail(db, encryption, { template: 'notice', to: account.email, data, accountId: account.id }, { now });
}

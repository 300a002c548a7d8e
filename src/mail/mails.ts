/**
 * Mail: what is said to people who are not looking at a page. A mail is queued in the transaction of what it tells of
 * (queue.ts) and sent later by whichever instance comes first (delivery.ts), or kept for the outbox page when there is no
 * mail server. Its words are in words.ts, its layouts in views/mail/; here stand the shapes. Nothing here decides who is told what.
 *
 * A mail holds no text that a stranger may have written, such as the name somebody registered with: it goes to
 * addresses that nobody has proven yet, under our name.
 */
import type { AuditSource } from '../audit/events.ts';

/** What each kind of mail is given. Links are paths: the host is the configured one. */
export type Mails = {
  /** Confirms the address of an account. */
  'verify-email': { path: string; hours: number };
  /** Makes the account that somebody asked for; it does not exist yet. */
  register: { path: string; hours: number };
  /** To a person with an account, whose address was used to register. */
  'already-registered': { signInPath: string; resetPath: string };
  /** The way to a new password. */
  'reset-password': { path: string; minutes: number };
  /** To the new address of an account; `oldEmail` tells which account it is about. `alone`: nobody else has to agree. */
  'change-email-new': { path: string; hours: number; oldEmail: string; alone: boolean };
  /** To an address that somebody wants for another account, though it has one. */
  'change-email-taken': { signInPath: string };
  /** To the present address: `path` agrees, `cancelPath` stops it. */
  'change-email-old': { path: string; cancelPath: string; hours: number; newEmail: string };
  /** Something about how the account is protected has changed. */
  notice: Notice;
};

/** The changes that people are told of; the words for each are in words.ts. */
export const noticeKinds = [
  'password-changed',
  'password-reset',
  'email-changed',
  'email-change-cancelled',
  'two-step-on',
  'two-step-off',
  'recovery-codes-renewed',
  'recovery-code-used',
  'passkey-added',
  'passkey-removed',
  'deletion-asked',
  'deletion-cancelled',
  'signed-out-everywhere',
] as const;

export type NoticeKind = (typeof noticeKinds)[number];

export type NoticeFacts = {
  /** Where it was done: shown as address and device. */
  source?: AuditSource | undefined;
  /** What it is about, such as the name of a passkey or the new address; the account's own person wrote it. */
  detail?: string | undefined;
  /** Until when it can be undone. */
  until?: Date | undefined;
  /** Undoes it: a path on this origin. Without one the mail leads to a new password. */
  undoPath?: string | undefined;
};

/** As it is kept until it is sent: instants as ISO 8601 text. */
export type Notice = {
  kind: NoticeKind;
  at: string;
  address?: string | undefined;
  device?: string | undefined;
  detail?: string | undefined;
  until?: string | undefined;
  undoPath?: string | undefined;
};

/** A mail to be sent. `accountId` is for the audit log alone, should it never arrive. */
export type Mail = {
  [Name in keyof Mails]: { template: Name; to: string; data: Mails[Name]; accountId?: string | undefined };
}[keyof Mails];

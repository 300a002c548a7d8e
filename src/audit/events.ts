/**
 * The audit log: what happened to accounts, clients, tokens and keys, who asked for it and from where. Events are a
 * closed list and are written in the transaction of the change they tell of. Nothing here decides anything.
 */

/** Everything that is recorded, as noun and past participle, with what it means: docs/audit.md is printed from here. */
export const auditEventMeanings = {
  'login.succeeded': 'A person signed in; `amr` says with what.',
  'login.failed': 'A password, code or passkey was wrong, or the account is suspended; `method` says what was tried.',
  'login.throttled': 'Too many wrong tries: nothing is judged for a while.',
  'login.confirmed': 'A signed-in person proved once more who they are, before a sensitive change.',
  'session.ended': 'One session ended: the person signed out in that browser, or ended it from another.',
  'sessions.ended': 'An account was signed out everywhere.',

  'account.registered': 'An account was made.',
  'account.imported': 'The operator brought an account from another system.',
  'account.changed': 'The profile changed; `changed` names the fields.',
  'account.suspended': 'The operator suspended the account; all it was signed in to ended.',
  'account.reinstated': 'The operator ended the suspension.',
  'account.administrator-granted': 'The operator made the account an administrator.',
  'account.administrator-withdrawn': 'The operator took that back.',
  'account.deletion-requested': 'The person asked for the account to be deleted.',
  'account.deletion-cancelled': 'The person took that back, by signing in.',
  'account.deleted': 'The account is gone for good.',
  'account.exported': 'The person downloaded all that is stored about them.',

  'email.verified': 'The person proved that the address is theirs.',
  'email.change-requested': 'The person asked for another address.',
  'email.change-cancelled': 'The change of address was called off.',
  'email.changed': 'The account has another address.',

  'password.changed': 'The person chose another password.',
  'password.expired': 'The operator ordered that the next sign-in chooses another password.',
  'password.reset-requested': 'A link to choose another password was asked for.',
  'password.reset': 'Another password was chosen by such a link.',

  'totp.added': 'An authenticator app was added.',
  'totp.removed': 'The authenticator app was removed.',
  'recovery-codes.created': 'New recovery codes took the place of those before.',
  'recovery-code.used': 'A recovery code was used up; `left` is how many there are.',
  'passkey.added': 'A passkey was added.',
  'passkey.renamed': 'A passkey got another name.',
  'passkey.removed': 'A passkey was removed.',
  'passkey.refused': 'The counter of a passkey did not move on, as when somebody copied it; nobody was signed in.',
  'remembered-device.added': 'A browser was remembered: it is not asked for the second factor for a while.',
  'remembered-device.removed': 'A remembered browser was forgotten.',
  'throttle.cleared': 'The operator ended the pause after too many wrong tries.',

  'consent.granted': 'A person allowed a client something; `granted` and `refused` say what.',
  'consent.refused': 'A person refused a client all that it asked for.',
  'consent.withdrawn': 'A person took back all that a client was allowed.',
  'device.approved': 'A person let a device sign in (RFC 8628).',
  'device.denied': 'A person turned a device down.',

  'code.reused': 'An authorization or device code came again; all that came of it ended.',
  'refresh-token.reused': 'A rotated refresh token came again; all tokens of its grant ended.',
  'token.exchanged': 'A client turned a token for one API into one for another (RFC 8693).',
  'token.exchange-refused': 'A client was refused that.',
  'logout.delivered': 'A client was told that a session ended.',
  'logout.given-up': 'A client could not be told, after many tries.',
  'mail.given-up': 'A mail could not be delivered, after many tries.',

  'client.registered': 'A client was registered.',
  'client.updated': 'The metadata of a client changed.',
  'client.deleted': 'A client was deleted.',
  'client.secret-rotated': 'A client got another secret.',
  'initial-access-token.created': 'The operator made a token to register clients with.',
  'initial-access-token.revoked': 'Such a token was taken back.',

  'api.created': 'The operator registered an API.',
  'api.updated': 'An API changed.',
  'api.deleted': 'An API was deleted.',
  'api.access-changed': 'What a client may do at an API changed.',
  'authorization-details-type.created': 'A type of authorization details was registered (RFC 9396).',
  'authorization-details-type.deleted': 'A type of authorization details was deleted.',
  'token-exchange.permitted': 'A client was allowed to exchange tokens.',
  'token-exchange.forbidden': 'That was taken back.',

  'key.created': 'A signing key was made.',
  'key.activated': 'A signing key began to sign.',
  'key.retired': 'A signing key stopped to sign, and still verifies.',
  'key.removed': 'A signing key is published no more.',
  'key.revoked': 'The operator revoked a signing key: nothing it signed verifies.',
  'key.imported': 'The operator brought a signing key.',
  'keys.re-encrypted': 'Secrets were encrypted again under a newer key.',

  'backup.created': 'The operator made a backup; `sha256` is the file’s, `secrets` what it holds besides the database.',
  'backup.restored': 'The operator restored a backup; what happened since `taken_at` is not here.',
  'move.started': 'The operator began to move the installation to another database: nothing is changed here any more.',
  'move.cancelled': 'The operator called that off.',

  'audit-log.shortened': 'Events older than the policy keeps were removed; the chain begins behind them.',
  'audit-log.restarted': 'The operator began a new chain, because the one before was broken.',
} as const;

export type AuditEventName = keyof typeof auditEventMeanings;

export const auditEventNames = Object.keys(auditEventMeanings) as AuditEventName[];

/** Events of something that was tried and did not come about. All others are successes. */
const failures: ReadonlySet<AuditEventName> = new Set<AuditEventName>([
  'login.failed',
  'login.throttled',
  'passkey.refused',
  'code.reused',
  'refresh-token.reused',
  'token.exchange-refused',
  'logout.given-up',
  'mail.given-up',
]);

export type Outcome = 'success' | 'failure';

export function outcomeOf(event: AuditEventName): Outcome {
  return failures.has(event) ? 'failure' : 'success';
}

/** Where a request came from; absent for what the server does by itself. */
export type AuditSource = {
  address?: string | undefined;
  userAgent?: string | undefined;
  requestId?: string | undefined;
  /** Who typed the command, for what came from the command line: the name of the user at the operating system. */
  operator?: string | undefined;
};

export type AuditEvent = {
  event: AuditEventName;
  accountId?: string | undefined;
  clientId?: string | undefined;
  sessionUid?: string | undefined;
  source?: AuditSource | undefined;
  /** Further facts with snake_case names; never a secret, a token, a password or an address of nobody's account. */
  details?: Record<string, unknown>;
};

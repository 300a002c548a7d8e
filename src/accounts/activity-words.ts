import type { AuditEventName } from '../audit/events.ts';

export type Told = { app: string; details: Record<string, unknown> };

/**
 * What a person is told of each event of their account, or null for what is none of their concern or told by another
 * event. `app` is the name of the client that it is about.
 */
export const activityWords: Record<AccountEventName, ((told: Told) => string) | null> = {
  'login.succeeded': ({ app, details }) => `You signed in${app && ` to continue to ${app}`}${methods(details)}.`,
  'login.failed': ({ details }) => `Somebody tried to sign in, and ${failure(details)}.`,
  'login.throttled': () => 'There were too many wrong tries, so nothing was checked for a while.',
  'login.confirmed': () => 'You confirmed it’s you.',
  'session.ended': () => 'You signed out of one browser.',
  'sessions.ended': ({ details }) =>
    details.by === 'cli'
      ? 'Whoever runs this server signed you out everywhere.'
      : `You signed out of ${details.others ? 'all other browsers' : 'every browser'}.`,
  'account.registered': () => 'Your account was created.',
  'account.imported': () => 'Your account was brought here from another system.',
  'account.changed': () => 'You changed your profile.',
  'account.suspended': () => 'Whoever runs this server suspended your account.',
  'account.reinstated': () => 'Your account may be used again.',
  'account.administrator-granted': () => 'Whoever runs this server made you an administrator.',
  'account.administrator-withdrawn': () => 'You are no administrator of this server any more.',
  'account.deletion-requested': () => 'You asked for your account to be deleted.',
  'account.deletion-cancelled': () => 'You signed in, so your account stays.',
  'account.deleted': null,
  'account.exported': () => 'You downloaded your data.',
  'email.verified': () => 'You confirmed your email address.',
  'email.change-requested': () => 'You asked for another email address.',
  'email.change-cancelled': () => 'The change of your email address was stopped.',
  'email.changed': () => 'Your email address changed.',
  'password.changed': () => 'You changed your password.',
  'password.expired': () => 'Whoever runs this server asks you to choose a new password.',
  'password.reset-requested': () => 'A link to choose a new password was asked for.',
  'password.reset': () => 'A new password was chosen with a link from a mail.',
  'totp.added': () => 'You turned two-step sign-in on.',
  'totp.removed': () => 'You turned two-step sign-in off.',
  'recovery-codes.created': () => 'You made new recovery codes.',
  'recovery-code.used': () => 'A recovery code was used.',
  'passkey.added': ({ details }) => `You added a passkey${named(details)}.`,
  'passkey.renamed': ({ details }) => `You renamed a passkey${named(details)}.`,
  'passkey.refused': ({ details }) =>
    `A passkey${named(details)} was refused: its counter did not move on, so somebody may have copied it.`,
  'passkey.removed': ({ details }) => `You removed a passkey${named(details)}.`,
  'remembered-device.added': () => 'You asked to skip the second step in a browser.',
  'remembered-device.removed': () => 'A browser has to do the second step again.',
  'throttle.cleared': () => 'Whoever runs this server ended the pause after too many tries.',
  'consent.granted': ({ app }) => `You allowed ${app} what it asked for.`,
  'consent.refused': ({ app }) => `You said no to ${app}.`,
  'consent.withdrawn': ({ app }) => `You disconnected ${app}.`,
  'device.approved': ({ app }) => `You let a device sign in to ${app}.`,
  'device.denied': ({ app }) => `You turned a device down that wanted to sign in to ${app}.`,
  'code.reused': ({ app }) => `A sign-in to ${app} was repeated with the same code, so it ended.`,
  'refresh-token.reused': ({ app }) => `${app} used an old key to your account, so it has to ask you to sign in again.`,
  'token.exchanged': null,
  'token.exchange-refused': null,
  'logout.delivered': null,
  'logout.given-up': null,
};

/** Nothing that happens to clients, APIs and keys is about one person. */
type AccountEventName = Exclude<
  AuditEventName,
  `${'client' | 'initial-access-token' | 'api' | 'authorization-details-type' | 'token-exchange' | 'key' | 'keys' | 'mail' | 'audit-log' | 'backup' | 'move'}.${string}`
>;

const methodNames: Record<string, string> = {
  pwd: 'your password',
  otp: 'a code',
  kba: 'a recovery code',
  hwk: 'a passkey',
  swk: 'a passkey',
  pop: 'a passkey',
};

/** RFC 8176 values, as people call them. */
function methods({ amr }: Told['details']): string {
  const names = Array.isArray(amr) ? amr.flatMap((value) => methodNames[String(value)] ?? []) : [];
  return names.length > 0 ? ` with ${[...new Set(names)].join(' and ')}` : '';
}

function failure({ method, reason }: Told['details']): string {
  if (reason === 'suspended') return 'the account is suspended';
  if (method === 'password') return 'the password was wrong';
  if (method === 'passkey') return 'the passkey didn’t work';
  return 'the code was wrong';
}

function named({ name }: Told['details']): string {
  return typeof name === 'string' ? ` (${name})` : '';
}

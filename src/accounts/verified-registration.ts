/**
 * Registration where an account exists only once its address is proven. The answer to the form is the same for known and
 * unknown addresses, and so is the work (SECURITY 50): what differs is a mail, sent by somebody else later.
 *
 * Whoever can read mail at an address did not necessarily fill in the form: a stranger may have, with a password of
 * their own, to wait in the account for its owner. So a browser other than the one with the form must show that password.
 */
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import type { Encryption } from '../keys/encryption.ts';
import type { Bcrypt } from '../lib/bcrypt-pool.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';
import { enqueueMail } from '../mail/queue.ts';
import { type Account, createAccount, findAccountByEmail, normalizeEmail } from './accounts.ts';
import type { Attempts, Throttled } from './attempts.ts';
import { consumeLink, createLink, type EmailLink, findLink } from './email-links.ts';
import { verificationHours, verificationPath } from './email-verification.ts';
import { hashPassword, verifyPassword } from './password.ts';

export type VerifiedRegistrationDependencies = {
  db: Database;
  encryption: Encryption;
  bcrypt: Bcrypt;
  attempts: Attempts;
};

/** What the link is for; it waits sealed. */
type Pending = {
  email: string;
  name: string;
  passwordHash: string;
  /** SHA-256 of what the browser with the form keeps in a cookie. */
  browserHash: string;
  /** A path on this origin where that browser goes on. */
  continueTo: string;
};

/** `browser`: what this browser is to keep until the link is followed. */
export type RegistrationMailed = { outcome: 'mailed'; browser: string };

/** Takes an acceptable registration: bcrypt, a link and a mail, whether or not the address has an account. Throws `BusyError`. */
export async function beginRegistration(
  { db, encryption, bcrypt, attempts }: VerifiedRegistrationDependencies,
  { email, name, password }: { email: string; name: string; password: string },
  { address, continueTo }: { address: string | undefined; continueTo: string },
): Promise<RegistrationMailed | Throttled> {
  const spent = await attempts.spend('verification-mail', { account: normalizeEmail(email), address });
  if (spent.outcome === 'throttled') return spent;
  const browser = randomToken();
  const passwordHash = await hashPassword(bcrypt, password);
  const payload: Pending = { email, name, passwordHash, browserHash: sha256(browser), continueTo };
  if (spent.outcome === 'counted') {
    await db.transaction(async (tx) => {
      const account = await findAccountByEmail(tx, email);
      const lifetimeSeconds = verificationHours * 3600;
      const token = await createLink(tx, encryption, { purpose: 'register', lifetimeSeconds, payload });
      // For a known address the link is made all the same, and told to nobody.
      await enqueueMail(
        tx,
        encryption,
        account
          ? {
              template: 'already-registered',
              to: account.email,
              data: { signInPath: '/auth/login', resetPath: '/auth/forgot-password' },
              accountId: account.id,
            }
          : { template: 'register', to: email, data: { path: verificationPath(token), hours: verificationHours } },
      );
    });
  }
  return { outcome: 'mailed', browser };
}

/** The account that a link would create, and whether this browser must show the password. Uses nothing up. */
export async function findRegistration(
  { db, encryption }: Pick<VerifiedRegistrationDependencies, 'db' | 'encryption'>,
  { token, browser }: { token: unknown; browser: string | undefined },
): Promise<{ email: string; passwordNeeded: boolean } | undefined> {
  const link = await findLink(db, encryption, token, ['register']);
  return link && { email: pendingOf(link).email, passwordNeeded: !isSameBrowser(link, browser) };
}

export type FinishedRegistration =
  | { outcome: 'registered'; account: Account; continueTo: string }
  /** Another browser, which did not show the password or showed another one. */
  | { outcome: 'password-needed'; email: string }
  | { outcome: 'wrong-password'; email: string }
  | (Throttled & { email: string })
  /** The address got an account meanwhile. Whoever asks has proven that it is theirs, so it may be told. */
  | { outcome: 'email-taken' };

/** Creates the account. Undefined when the link is used up. Throws `BusyError`. */
export async function finishRegistration(
  { db, encryption, bcrypt, attempts }: VerifiedRegistrationDependencies,
  { token, browser, password }: { token: unknown; browser: string | undefined; password: string | undefined },
  source: AuditSource,
): Promise<FinishedRegistration | undefined> {
  const found = await findLink(db, encryption, token, ['register']);
  if (!found) return undefined;
  const { email, name, passwordHash, continueTo } = pendingOf(found);
  const sameBrowser = isSameBrowser(found, browser);
  if (!sameBrowser) {
    if (!password) return { outcome: 'password-needed', email };
    const who = { account: normalizeEmail(email), address: source.address };
    const judged = await attempts.judge('password', who, async () =>
      (await verifyPassword(bcrypt, password, passwordHash)) ? true : undefined,
    );
    if (judged.outcome === 'throttled') return { ...judged, email };
    if (judged.outcome === 'wrong') return { outcome: 'wrong-password', email };
  }
  return db.transaction(async (tx): Promise<FinishedRegistration | undefined> => {
    if (!(await consumeLink(tx, encryption, token, ['register']))) return undefined;
    const created = await createAccount(tx, { email, name, passwordHash, emailVerified: true });
    if (created.outcome === 'email-taken') return created;
    const { account } = created;
    await record(tx, { event: 'account.registered', accountId: account.id, source });
    await record(tx, { event: 'email.verified', accountId: account.id, source });
    return { outcome: 'registered', account, continueTo: sameBrowser ? continueTo : '/account' };
  });
}

function pendingOf(link: EmailLink): Pending {
  return link.payload as Pending;
}

function isSameBrowser(link: EmailLink, browser: string | undefined): boolean {
  return browser !== undefined && sha256(browser) === pendingOf(link).browserHash;
}

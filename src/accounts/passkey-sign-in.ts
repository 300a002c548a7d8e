/**
 * Signing in with a passkey, as the first step or the second. A passkey that also knew its person (PIN, fingerprint)
 * is two factors at once.
 */
import type { AuthenticationResponseJSON, PublicKeyCredentialRequestOptionsJSON } from '@simplewebauthn/server';
import { and, eq, isNull, lt, or, sql } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { passkeys, users } from '../db/schema.ts';
import { type Account, findAccount } from './accounts.ts';
import { AssertionAnswer, isFramed } from './passkey-answers.ts';
import { type ChallengeUse, challengeSeconds, consumeChallenge, issueChallenge } from './passkey-challenges.ts';
import type { RelyingParty } from './relying-party.ts';
import { webauthn } from './webauthn.ts';

export type SignInUse = ChallengeUse & {
  purpose: 'sign-in' | 'second-factor';
  /** Where holding a passkey was shown already: only what verifies its person adds another factor. */
  verifyUser?: boolean | undefined;
};

export type PasskeyOptions<Options> = { handle: string; options: Options };

/**
 * What the browser's `navigator.credentials.get` is asked. At a sign-in nobody is named, so the answer tells nothing of
 * who has an account; a known person's browser hears which passkeys would do.
 */
export async function signInOptions(
  db: Database,
  { id: rpID }: RelyingParty,
  use: SignInUse,
): Promise<PasskeyOptions<PublicKeyCredentialRequestOptionsJSON>> {
  const { handle, challenge } = await issueChallenge(db, use);
  const known = use.accountId === undefined ? [] : await credentialsOf(db, use.accountId);
  const { generateAuthenticationOptions } = await webauthn();
  const options = await generateAuthenticationOptions({
    rpID,
    challenge: Buffer.from(challenge, 'base64url'),
    timeout: challengeSeconds * 1000,
    // Beside a password it is enough to hold the passkey.
    userVerification: use.verifyUser ? 'required' : use.purpose === 'second-factor' ? 'discouraged' : 'preferred',
    ...(use.accountId !== undefined && { allowCredentials: known }),
  });
  return { handle, options };
}

/** For `allowCredentials` and `excludeCredentials`. */
export async function credentialsOf(db: Database, accountId: string) {
  const rows = await db
    .select({ id: passkeys.credentialId, transports: passkeys.transports })
    .from(passkeys)
    .where(eq(passkeys.accountId, accountId));
  return rows.map(({ id, transports }) => ({ id, transports: transports as 'internal'[] }));
}

export type PasskeyProof =
  | {
      outcome: 'authenticated';
      account: Account;
      /** RFC 8176; `mfa` only when the passkey verified its person. */
      amr: readonly string[];
      /** False when the passkey was removed or the account suspended since; waits for a change under way. */
      stillStands(): Promise<boolean>;
    }
  /** `reason` is for log and audit; people and programs hear the same of every one. `accountId`: whose passkey it names. */
  | { outcome: 'rejected'; reason: PasskeyRefusal; accountId?: string };

export type PasskeyRefusal =
  | 'unavailable'
  | 'malformed'
  | 'challenge'
  | 'unknown'
  | 'suspended'
  | 'signature'
  | 'user-handle'
  | 'counter';

/**
 * Judges an answer to a challenge of `use` (WebAuthn §7.2). The challenge is used up whatever comes of it. A passkey
 * whose counter does not move on was copied: it is refused and recorded.
 */
export async function verifyPasskey(
  db: Database,
  relyingParty: RelyingParty,
  { body, use, source }: { body: unknown; use: SignInUse; source: AuditSource },
): Promise<PasskeyProof> {
  const refuse = (reason: PasskeyRefusal, accountId?: string): PasskeyProof => ({
    outcome: 'rejected',
    reason,
    ...(accountId !== undefined && { accountId }),
  });
  const answer = AssertionAnswer.safeParse(body ?? {});
  if (!answer.success) return refuse('malformed');
  const { handle, credential } = answer.data;
  const challenge = await consumeChallenge(db, handle, use);
  if (challenge === undefined) return refuse('challenge');
  const [stored] = await db.select().from(passkeys).where(ownedBy(use.accountId, credential.id));
  const account = stored && (await findAccount(db, stored.accountId));
  if (!account) return refuse('unknown');
  const verified = await verifyAnswer(relyingParty, challenge, credential as AuthenticationResponseJSON, stored, use);
  if (!verified) return refuse('signature', account.id);
  // Where nobody was named, the passkey has to say whose it is (WebAuthn §7.2 step 6).
  const { userHandle } = credential.response;
  if (userHandle === undefined ? use.accountId === undefined : userHandle !== userHandleOf(account.id)) {
    return refuse('user-handle', account.id);
  }
  if (account.suspendedAt) return refuse('suspended', account.id);
  if (!(await noteUse(db, stored, verified, source))) return refuse('counter', account.id);
  return {
    outcome: 'authenticated',
    account,
    amr: ['pop', 'user', ...(verified.userVerified ? ['mfa'] : [])],
    stillStands: () => stillThere(db, stored),
  };
}

/** The account's id as passkeys keep it: opaque, so a found or lost one tells no address. */
export function userHandleOf(accountId: string): string {
  return Buffer.from(accountId).toString('base64url');
}

type StoredPasskey = typeof passkeys.$inferSelect;

function ownedBy(accountId: string | undefined, credentialId: string) {
  const id = eq(passkeys.credentialId, credentialId);
  return accountId === undefined ? id : and(id, eq(passkeys.accountId, accountId));
}

async function stillThere(db: Database, { accountId, credentialId }: StoredPasskey): Promise<boolean> {
  const found = await db
    .select({ id: users.id })
    .from(users)
    .innerJoin(passkeys, eq(passkeys.accountId, users.id))
    .where(and(ownedBy(accountId, credentialId), isNull(users.suspendedAt)))
    .for('share');
  return found.length > 0;
}

type VerifiedAnswer = {
  counter: number;
  userVerified: boolean;
  deviceType: StoredPasskey['deviceType'];
  backedUp: boolean;
};

async function verifyAnswer(
  { id: expectedRPID, origin: expectedOrigin }: RelyingParty,
  expectedChallenge: string,
  response: AuthenticationResponseJSON,
  { credentialId, publicKey }: StoredPasskey,
  { verifyUser = false }: Pick<SignInUse, 'verifyUser'>,
): Promise<VerifiedAnswer | undefined> {
  const { verifyAuthenticationResponse } = await webauthn();
  try {
    const { verified, authenticationInfo: info } = await verifyAuthenticationResponse({
      response,
      expectedChallenge,
      expectedOrigin,
      expectedRPID,
      requireUserVerification: verifyUser,
      // The counter is compared where it is stored, in one statement.
      credential: { id: credentialId, publicKey: new Uint8Array(publicKey), counter: 0 },
    });
    if (!verified || isFramed(response.response.clientDataJSON)) return undefined;
    const { newCounter: counter, userVerified, credentialDeviceType: deviceType, credentialBackedUp: backedUp } = info;
    return { counter, userVerified, deviceType, backedUp };
  } catch {
    // Whatever was not as it has to be; the library tells by throwing.
    return undefined;
  }
}

/** Keeps counter, backup state and time; false, and recorded, when the counter did not move on (WebAuthn §6.1.1). */
async function noteUse(
  db: Database,
  { credentialId, accountId, name }: StoredPasskey,
  { counter, deviceType, backedUp }: VerifiedAnswer,
  source: AuditSource,
): Promise<boolean> {
  const movesOn = or(lt(passkeys.counter, counter), and(eq(passkeys.counter, 0), sql`${counter} = 0`));
  const noted = await db
    .update(passkeys)
    .set({ counter, deviceType, backedUp, lastUsedAt: new Date() })
    .where(and(eq(passkeys.credentialId, credentialId), movesOn))
    .returning({ id: passkeys.credentialId });
  if (noted.length > 0) return true;
  await record(db, { event: 'passkey.refused', accountId, source, details: { name, reason: 'counter', counter } });
  return false;
}

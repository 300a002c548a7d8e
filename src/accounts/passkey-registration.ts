/**
 * Adding a passkey (WebAuthn §7.1). No attestation is asked for and none is looked at: whose device it is says nothing
 * that is used, and certificates from strangers would make the library fetch what they name.
 */
import type { PublicKeyCredentialCreationOptionsJSON, RegistrationResponseJSON } from '@simplewebauthn/server';
import { count, eq } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { passkeys, users } from '../db/schema.ts';
import { notifyAccount } from '../mail/notify.ts';
import type { Account } from './accounts.ts';
import { isFramed, RegistrationAnswer } from './passkey-answers.ts';
import { challengeSeconds, consumeChallenge, issueChallenge } from './passkey-challenges.ts';
import { credentialsOf, type PasskeyOptions, userHandleOf } from './passkey-sign-in.ts';
import type { PasskeyDependencies } from './passkeys.ts';
import type { RelyingParty } from './relying-party.ts';
import { webauthn, webauthnHelpers } from './webauthn.ts';

/** More than anybody has devices for, and no way to fill the table. */
export const mostPasskeys = 20;

/** EdDSA, ES256 and RS256, as COSE numbers them (RFC 9053 §2, RFC 8812 §2). */
const algorithms = [-8, -7, -257];

/** What the browser's `navigator.credentials.create` is asked. */
export async function registrationOptions(
  db: Database,
  { id: rpID, name: rpName }: RelyingParty,
  { id: accountId, email, name }: Pick<Account, 'id' | 'email' | 'name'>,
  browser: string,
): Promise<PasskeyOptions<PublicKeyCredentialCreationOptionsJSON>> {
  const { handle, challenge } = await issueChallenge(db, { purpose: 'registration', browser, accountId });
  const { generateRegistrationOptions } = await webauthn();
  const options = await generateRegistrationOptions({
    rpID,
    rpName,
    challenge: Buffer.from(challenge, 'base64url'),
    userID: new Uint8Array(Buffer.from(userHandleOf(accountId), 'base64url')),
    userName: email,
    userDisplayName: name,
    timeout: challengeSeconds * 1000,
    attestationType: 'none',
    excludeCredentials: await credentialsOf(db, accountId),
    // Without being discoverable it could not sign in without a username.
    authenticatorSelection: { residentKey: 'required', userVerification: 'preferred' },
    supportedAlgorithmIDs: algorithms,
  });
  return { handle, options };
}

export type PasskeyRegistration =
  | { outcome: 'added'; id: string; name: string }
  | { outcome: 'too-many' }
  /** `reason` is for the log. */
  | { outcome: 'rejected'; reason: 'malformed' | 'challenge' | 'attestation' | 'taken' };

/** Keeps the passkey that a browser made for a challenge of this account and browser, under `name`. */
export async function addPasskey(
  { db, encryption }: PasskeyDependencies,
  relyingParty: RelyingParty,
  account: Pick<Account, 'id' | 'email'>,
  { body, browser, name, source }: { body: unknown; browser: string; name: string; source: AuditSource },
): Promise<PasskeyRegistration> {
  const answer = RegistrationAnswer.safeParse(body ?? {});
  if (!answer.success) return { outcome: 'rejected', reason: 'malformed' };
  const { handle, credential } = answer.data;
  const use = { purpose: 'registration', browser, accountId: account.id } as const;
  const challenge = await consumeChallenge(db, handle, use);
  if (challenge === undefined) return { outcome: 'rejected', reason: 'challenge' };
  const made = await verifyAnswer(relyingParty, challenge, credential as RegistrationResponseJSON);
  if (!made) return { outcome: 'rejected', reason: 'attestation' };
  return db.transaction(async (tx) => {
    // One at a time for each account, so that the limit holds.
    await tx.select({ id: users.id }).from(users).where(eq(users.id, account.id)).for('update');
    const [{ total } = { total: 0 }] = await tx
      .select({ total: count() })
      .from(passkeys)
      .where(eq(passkeys.accountId, account.id));
    if (total >= mostPasskeys) return { outcome: 'too-many' };
    const transports = credential.response.transports;
    const added = await tx
      .insert(passkeys)
      .values({ ...made, accountId: account.id, name, transports })
      .onConflictDoNothing()
      .returning({ id: passkeys.credentialId });
    if (added.length === 0) return { outcome: 'rejected', reason: 'taken' };
    await record(tx, { event: 'passkey.added', accountId: account.id, source, details: { name } });
    await notifyAccount(tx, encryption, account, 'passkey-added', { source, detail: name });
    return { outcome: 'added', id: made.credentialId, name };
  });
}

type MadePasskey = Pick<
  typeof passkeys.$inferSelect,
  'credentialId' | 'publicKey' | 'counter' | 'deviceType' | 'backedUp'
>;

async function verifyAnswer(
  { id: expectedRPID, origin: expectedOrigin }: RelyingParty,
  expectedChallenge: string,
  response: RegistrationResponseJSON,
): Promise<MadePasskey | undefined> {
  const { verifyRegistrationResponse } = await webauthn();
  try {
    if (!(await isUnattested(response.response.attestationObject))) return undefined;
    const { verified, registrationInfo: info } = await verifyRegistrationResponse({
      response,
      expectedChallenge,
      expectedOrigin,
      expectedRPID,
      requireUserVerification: false,
      supportedAlgorithmIDs: algorithms,
    });
    if (!verified || info.credential.id !== response.id || isFramed(response.response.clientDataJSON)) return undefined;
    return {
      credentialId: info.credential.id,
      publicKey: Buffer.from(info.credential.publicKey),
      counter: info.credential.counter,
      deviceType: info.credentialDeviceType,
      backedUp: info.credentialBackedUp,
    };
  } catch {
    // Whatever was not as it has to be; the library tells by throwing.
    return undefined;
  }
}

/** What browsers send when no attestation was asked for: none, or the new key's own signature (WebAuthn §5.1.3). */
async function isUnattested(attestationObject: string): Promise<boolean> {
  const { decodeAttestationObject } = await webauthnHelpers();
  const decoded = decodeAttestationObject(new Uint8Array(Buffer.from(attestationObject, 'base64url')));
  const format = decoded.get('fmt');
  return format === 'none' || (format === 'packed' && !decoded.get('attStmt').get('x5c'));
}

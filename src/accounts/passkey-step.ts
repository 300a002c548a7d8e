/** A passkey as a step of signing in: asked for, counted like every try, recorded when it was wrong. */
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { notFound } from '../http/errors.ts';
import type { Attempts, Throttled } from './attempts.ts';
import { browserOf, createBrowser, type SetsCookies, type WithCookies } from './passkey-browser.ts';
import { type PasskeyProof, type SignInUse, signInOptions, verifyPasskey } from './passkey-sign-in.ts';
import { relyingPartyOf } from './relying-party.ts';

export type PasskeyOutcome =
  | Extract<PasskeyProof, { outcome: 'authenticated' }>
  /** The right passkey, of an account that may not be used. */
  | { outcome: 'suspended' }
  /** `reason` is for the log. */
  | { outcome: 'passkey-rejected'; reason: string }
  | Throttled;

/** `sign-in` when nobody is known yet; `second-factor` for the account that a password or a session led to. */
export type PasskeyUse = Omit<SignInUse, 'browser'>;

export type PasskeySteps = ReturnType<typeof createPasskeySteps>;

type Dependencies = {
  db: Database;
  attempts: Attempts;
  /** The public origin, `https://id.example`, and what its people know it as. */
  origin: string;
  name: string;
};

export function createPasskeySteps({ db, attempts, origin, name }: Dependencies) {
  const relyingParty = relyingPartyOf(origin, name);
  const secure = origin.startsWith('https:');
  return {
    /** Undefined where passkeys cannot be. */
    relyingParty,
    /** Whether pages offer passkeys. */
    available: relyingParty !== undefined,
    secure,

    /** What the page asks its browser. Throws 404 where passkeys cannot be. */
    async options(req: WithCookies, res: SetsCookies, use: PasskeyUse) {
      if (!relyingParty) throw notFound();
      return signInOptions(db, relyingParty, { ...use, browser: createBrowser(secure, req, res) });
    },

    /** The one way from a browser's answer to an account. */
    async judge(req: WithCookies & { body?: unknown }, source: AuditSource, use: PasskeyUse): Promise<PasskeyOutcome> {
      const who = { account: use.accountId, address: source.address };
      let refused: Exclude<PasskeyProof, { outcome: 'authenticated' }> = { outcome: 'rejected', reason: 'unavailable' };
      const judged = await attempts.judge('passkey', who, async () => {
        if (!relyingParty) return undefined;
        const browser = browserOf(secure, req);
        const proof = await verifyPasskey(db, relyingParty, { body: req.body, use: { ...use, browser }, source });
        if (proof.outcome === 'authenticated') return proof;
        refused = proof;
        return undefined;
      });
      if (judged.outcome === 'right') return judged.value;
      if (judged.outcome === 'throttled') return judged;
      const { reason, accountId = use.accountId } = refused;
      await record(db, { event: 'login.failed', accountId, source, details: { method: 'passkey', reason } });
      return reason === 'suspended' ? { outcome: 'suspended' } : { outcome: 'passkey-rejected', reason };
    },
  };
}

/** Whether a body answers with a passkey, on pages that take other things, too. */
export function isPasskeyAnswer(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'credential' in body;
}

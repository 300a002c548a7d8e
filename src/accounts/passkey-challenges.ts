/**
 * What a passkey signs to prove that it is there now. A challenge is answered once, for one purpose, from the browser
 * that asked for it; for a known person it is theirs alone. One conditional delete is all of that check.
 */
import { and, eq, gt, isNull } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { passkeyChallenges } from '../db/schema.ts';
import { sha256 } from '../lib/hash.ts';
import { randomToken } from '../lib/random.ts';

export type ChallengeUse = {
  purpose: (typeof passkeyChallenges.$inferSelect)['purpose'];
  /** The value of this browser's cookie. */
  browser: string;
  /** Who has to answer; at a sign-in that begins with the passkey nobody knows yet. */
  accountId?: string | undefined;
};

/** Seconds in which a challenge can be answered. */
export const challengeSeconds = 5 * 60;

/** `handle` goes to the page and comes back with the answer; only its hash is kept. */
export async function issueChallenge(
  db: Database,
  { purpose, browser, accountId }: ChallengeUse,
  now = new Date(),
): Promise<{ handle: string; challenge: string }> {
  const handle = randomToken(16);
  const challenge = randomToken();
  await db.insert(passkeyChallenges).values({
    idHash: idHash(browser, handle),
    challenge,
    purpose,
    accountId: accountId ?? null,
    expiresAt: new Date(now.getTime() + challengeSeconds * 1000),
  });
  return { handle, challenge };
}

/** Takes the challenge: undefined when there is none for exactly this use, or it was taken or ran out. */
export async function consumeChallenge(
  db: Database,
  handle: string,
  { purpose, browser, accountId }: ChallengeUse,
  now = new Date(),
): Promise<string | undefined> {
  const { idHash: id, accountId: owner, expiresAt } = passkeyChallenges;
  const [taken] = await db
    .delete(passkeyChallenges)
    .where(
      and(
        eq(id, idHash(browser, handle)),
        eq(passkeyChallenges.purpose, purpose),
        accountId === undefined ? isNull(owner) : eq(owner, accountId),
        gt(expiresAt, now),
      ),
    )
    .returning({ challenge: passkeyChallenges.challenge });
  return taken?.challenge;
}

function idHash(browser: string, handle: string): string {
  return sha256(`${browser} ${handle}`);
}

import { and, count, eq, isNotNull, isNull } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { passkeys, recoveryCodes, totpSecrets, users } from '../db/schema.ts';

/** The ways into an account, and since when; never what proves them. */
export type SignInMethods = {
  password: boolean;
  passwordChangedAt: Date | undefined;
  /** The authenticator app is in force. */
  twoStepSince: Date | undefined;
  recoveryCodesLeft: number;
  passkeys: number;
};

export async function findSignInMethods(db: Database, accountId: string): Promise<SignInMethods> {
  const left = db
    .select({ left: count().as('left') })
    .from(recoveryCodes)
    .where(and(eq(recoveryCodes.accountId, accountId), isNull(recoveryCodes.usedAt)))
    .as('codes');
  const keys = db
    .select({ keys: count().as('keys') })
    .from(passkeys)
    .where(eq(passkeys.accountId, accountId))
    .as('passkeys_of');
  const [row] = await db
    .select({
      passwordHash: users.passwordHash,
      passwordChangedAt: users.passwordChangedAt,
      twoStepSince: totpSecrets.confirmedAt,
      recoveryCodesLeft: left.left,
      passkeys: keys.keys,
    })
    .from(users)
    .leftJoin(totpSecrets, and(eq(totpSecrets.accountId, users.id), isNotNull(totpSecrets.confirmedAt)))
    .crossJoin(left)
    .crossJoin(keys)
    .where(eq(users.id, accountId));
  return {
    password: typeof row?.passwordHash === 'string',
    passwordChangedAt: row?.passwordChangedAt ?? undefined,
    twoStepSince: row?.twoStepSince ?? undefined,
    recoveryCodesLeft: row?.recoveryCodesLeft ?? 0,
    passkeys: row?.passkeys ?? 0,
  };
}

/** Rotation of OIDC_ENCRYPTION_KEY: what lasts and is sealed by an older key of the list is sealed again by the first. */
import { and, eq, isNotNull } from 'drizzle-orm';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { providerSecrets, signingKeys, totpSecrets } from '../db/schema.ts';
import type { Encryption, SealedBy } from './encryption.ts';
import { keyPurpose, takeTurn } from './key-ring.ts';
import { providerSecretPurpose } from './provider-secret.ts';
import { totpPurpose } from './totp-purpose.ts';

/** A sealed text that is kept for longer than an hour, and how to replace it unless it was changed in between. */
type Sealed = { text: string; purpose: string; replace: (db: Database, text: string) => Promise<unknown> };

/**
 * Seals again what an older key sealed. Answers how many texts were, and how many there are that no configured key
 * opens: those are left as they are. Safe at any time and in several instances at once.
 */
export async function reEncrypt(
  db: Database,
  encryption: Encryption,
  source?: AuditSource,
): Promise<{ reEncrypted: number; unreadable: number }> {
  return db.transaction(async (tx) => {
    await takeTurn(tx);
    const sealed = await findSealed(tx);
    const old = sealed.filter(({ text }) => encryption.sealedBy(text) === 'older');
    for (const { text, purpose, replace } of old) {
      await replace(tx, encryption.encrypt(encryption.decrypt(text, purpose), purpose));
    }
    if (old.length > 0) await record(tx, { event: 'keys.re-encrypted', source, details: { count: old.length } });
    const unreadable = sealed.filter(({ text }) => encryption.sealedBy(text) === 'unknown').length;
    return { reEncrypted: old.length, unreadable };
  });
}

/** How many lasting texts besides the signing keys an older key sealed. */
export async function countOldSecrets(db: Database, encryption: Encryption): Promise<number> {
  return (await countSecrets(db, encryption)).older;
}

/** How many lasting texts besides the signing keys were sealed by each kind of key; none of configured ones opens `unknown`. */
export async function countSecrets(db: Database, encryption: Encryption): Promise<Record<SealedBy, number>> {
  const counts = { first: 0, older: 0, unknown: 0 };
  for (const { text } of await sealedSecrets(db)) counts[encryption.sealedBy(text)] += 1;
  return counts;
}

async function findSealed(db: Database): Promise<Sealed[]> {
  return [...(await sealedSigningKeys(db)), ...(await sealedSecrets(db))];
}

async function sealedSigningKeys(db: Database): Promise<Sealed[]> {
  const { kid, privateJwkEncrypted } = signingKeys;
  const rows = await db
    .select({ kid, text: privateJwkEncrypted })
    .from(signingKeys)
    .where(isNotNull(privateJwkEncrypted));
  return rows.map((row) => ({
    text: row.text ?? '',
    purpose: keyPurpose(row.kid),
    replace: (tx, text) =>
      tx
        .update(signingKeys)
        .set({ privateJwkEncrypted: text })
        .where(and(eq(kid, row.kid), eq(privateJwkEncrypted, row.text ?? ''))),
  }));
}

async function sealedSecrets(db: Database): Promise<Sealed[]> {
  return [...(await sealedProviderSecrets(db)), ...(await sealedTotpSecrets(db))];
}

async function sealedTotpSecrets(db: Database): Promise<Sealed[]> {
  const { accountId, secretEncrypted } = totpSecrets;
  const rows = await db.select({ id: accountId, text: secretEncrypted }).from(totpSecrets);
  return rows.map((row) => ({
    text: row.text,
    purpose: totpPurpose(row.id),
    replace: (tx, text) =>
      tx
        .update(totpSecrets)
        .set({ secretEncrypted: text })
        .where(and(eq(accountId, row.id), eq(secretEncrypted, row.text))),
  }));
}

async function sealedProviderSecrets(db: Database): Promise<Sealed[]> {
  const { name, valueEncrypted } = providerSecrets;
  const rows = await db.select().from(providerSecrets);
  return rows.map((row) => ({
    text: row.valueEncrypted,
    purpose: providerSecretPurpose(row.name),
    replace: (tx, text) =>
      tx
        .update(providerSecrets)
        .set({ valueEncrypted: text })
        .where(and(eq(name, row.name), eq(valueEncrypted, row.valueEncrypted))),
  }));
}

import { eq } from 'drizzle-orm';
import type { Database } from '../db/database.ts';
import { providerSecrets } from '../db/schema.ts';
import { randomToken } from '../lib/random.ts';
import type { Encryption } from './encryption.ts';

export const providerSecretPurpose = (name: string) => `provider-secret:${name}`;

/** A random secret under `name`, made once and then the same for ever and on every instance. */
export async function loadProviderSecret(db: Database, encryption: Encryption, name: string): Promise<string> {
  const purpose = providerSecretPurpose(name);
  await db
    .insert(providerSecrets)
    .values({ name, valueEncrypted: encryption.encrypt(randomToken(), purpose) })
    .onConflictDoNothing();
  const [row] = await db.select().from(providerSecrets).where(eq(providerSecrets.name, name));
  if (!row) throw new Error(`provider secret ${name} vanished`);
  return encryption.decrypt(row.valueEncrypted, purpose);
}

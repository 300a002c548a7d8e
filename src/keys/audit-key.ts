import { createHmac } from 'node:crypto';
import type { Database } from '../db/database.ts';
import type { Encryption } from './encryption.ts';
import { loadProviderSecret } from './provider-secret.ts';

/** The secret that seals the audit log's chain: without OIDC_ENCRYPTION_KEY it cannot be read from the database. */
export function loadAuditKey(db: Database, encryption: Encryption): Promise<string> {
  return loadProviderSecret(db, encryption, 'audit-chain');
}

/**
 * What the audit log keeps of an address that somebody tried to sign in with and that has no account: equal for equal
 * addresses, and no way back without the key.
 */
export function addressDigest(auditKey: string, emailNormalized: string): string {
  return createHmac('sha256', auditKey).update(`address:${emailNormalized}`).digest('base64url').slice(0, 22);
}

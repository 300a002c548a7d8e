/**
 * Accounts brought from another system, one a line. An address that has an account already is left as it is, so that an
 * import may be run again after it was interrupted or its file was mended.
 */
import { z } from 'zod';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { issuesOf, text } from '../http/body.ts';
import { createAccount, findAccountByEmail, updateProfile } from './accounts.ts';
import { emailAddress } from './email-address.ts';
import { importableHash } from './imported-hashes.ts';
import { ProfileForm } from './profile.ts';

/** Without a name people are called as they sign in elsewhere. `password_hash` is a text, or Keycloak's credential: an object with `credentialData` and `secretData`. */
const Line = z.object({
  email: emailAddress,
  name: text(200).optional(),
  email_verified: z.boolean({ error: 'true or false.' }).default(false),
  password_hash: z
    .unknown()
    .transform((given, context) => {
      const hash = given === undefined || given === null ? null : importableHash(given);
      if (hash !== undefined) return hash;
      context.addIssue({ code: 'custom', message: 'This kind of hash is not known here, or costs too much.' });
      return z.NEVER;
    })
    .optional(),
});

export type ImportedLine =
  | { outcome: 'created'; email: string }
  | { outcome: 'exists'; email: string }
  /** `reason` holds nothing of the line, which may hold a hash. */
  | { outcome: 'refused'; reason: string };

/** Brings one line in. Its further members are the profile's claims (OIDC Core §5.1). `dryRun` only judges it. */
export async function importLine(
  db: Database,
  line: string,
  { source, dryRun = false }: { source: AuditSource; dryRun?: boolean },
): Promise<ImportedLine> {
  const json = parseJson(line);
  const form = Line.safeParse(json);
  const profile = ProfileForm.safeParse(json);
  const error = form.error ?? profile.error;
  if (!form.success || !profile.success) {
    return { outcome: 'refused', reason: error ? wordsOf(error) : 'not an account' };
  }
  const { email, email_verified: emailVerified, password_hash: passwordHash = null } = form.data;
  const { preferredUsername } = profile.data;
  const name = form.data.name || preferredUsername || email.slice(0, email.lastIndexOf('@'));
  if (dryRun) return { outcome: (await findAccountByEmail(db, email)) ? 'exists' : 'created', email };
  return db.transaction(async (tx) => {
    const created = await createAccount(tx, { email, name, passwordHash, emailVerified });
    if (created.outcome === 'email-taken') return { outcome: 'exists', email };
    const { id } = created.account;
    if (Object.keys(profile.data).length > 0) await updateProfile(tx, id, { ...profile.data, name });
    await record(tx, { event: 'account.imported', accountId: id, source });
    return { outcome: 'created', email };
  });
}

/** Exports write null for what is not there. */
function parseJson(line: string): unknown {
  try {
    const json: unknown = JSON.parse(line);
    if (typeof json !== 'object' || json === null) return undefined;
    return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null && value !== ''));
  } catch {
    return undefined;
  }
}

function wordsOf(error: z.ZodError): string {
  return issuesOf(error)
    .map(({ path, message }) => (path ? `${path}: ${message}` : 'not a JSON object'))
    .join(' ');
}

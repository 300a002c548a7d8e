import { asc, eq } from 'drizzle-orm';
import { z } from 'zod';
import type { AuditSource } from '../audit/events.ts';
import { record } from '../audit/record.ts';
import type { Database } from '../db/database.ts';
import { authorizationDetailsTypes } from '../db/schema.ts';
import { HttpError } from '../http/errors.ts';
import { check, plain } from './api-rules.ts';
import { findApi } from './apis.ts';

/** A type of authorization details (RFC 9396 §2) that clients may send. */
export type AuthorizationDetailsType = typeof authorizationDetailsTypes.$inferSelect;

/** Printable ASCII: RFC 9396 §2.1 compares types octet by octet, and clients write them into addresses. */
const type = z
  .string()
  .max(200, 'Use at most 200 characters.')
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'A type is made of printable ASCII without space, " and \\.');

const memberName = z
  .string()
  .regex(/^[a-zA-Z][\w-]{0,63}$/, 'A member is a letter, followed by letters, digits, _ and -.')
  .refine((name) => !common.has(name), 'This member has a meaning of its own (RFC 9396 §2.2).');

/** RFC 9396 §2.2: what is common to all types. Of these, types here have `actions` and `locations`. */
const common = new Set(['type', 'locations', 'actions', 'datatypes', 'identifier', 'privileges']);

const Definition = z.strictObject({
  type,
  apiIdentifier: z.string(),
  title: plain,
  actions: z.array(z.string().regex(/^[\x21-\x7e]{1,64}$/, 'An action is a word of printable ASCII.')).default([]),
  fields: z.array(memberName).default([]),
});

/**
 * Registers a type. Its details belong to one API: only tokens for that API carry them.
 * @throws {HttpError} 400 `invalid_request`; 404 when there is no such API; 409 `type_exists`
 */
export async function createAuthorizationDetailsType(
  db: Database,
  definition: unknown,
  source?: AuditSource,
): Promise<AuthorizationDetailsType> {
  const valid = check(Definition, definition);
  return db.transaction(async (tx) => {
    if (!(await findApi(tx, valid.apiIdentifier))) {
      throw new HttpError(404, 'not_found', `There is no API ${valid.apiIdentifier}.`);
    }
    const [created] = await tx.insert(authorizationDetailsTypes).values(valid).onConflictDoNothing().returning();
    if (!created) throw new HttpError(409, 'type_exists', `There is a type ${valid.type} already.`);
    const details = { type: valid.type, api: valid.apiIdentifier };
    await record(tx, { event: 'authorization-details-type.created', source, details });
    return created;
  });
}

/** Takes a type back: from then on requests with it are refused. False when there is none. */
export async function deleteAuthorizationDetailsType(
  db: Database,
  name: string,
  source?: AuditSource,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const gone = await tx.delete(authorizationDetailsTypes).where(eq(authorizationDetailsTypes.type, name)).returning();
    if (gone.length === 0) return false;
    await record(tx, { event: 'authorization-details-type.deleted', source, details: { type: name } });
    return true;
  });
}

/** All types, by name. An operator registers each by hand, so there are not many. */
export async function listAuthorizationDetailsTypes(db: Database): Promise<AuthorizationDetailsType[]> {
  return db.select().from(authorizationDetailsTypes).orderBy(asc(authorizationDetailsTypes.type));
}

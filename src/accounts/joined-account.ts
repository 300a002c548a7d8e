/** An account that is read along with something else, in the same statement. */
import { getTableColumns, type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { users } from '../db/schema.ts';
import type { Account } from './accounts.ts';

const { passwordHash: _, ...columns } = getTableColumns(users);

/** As JSON, the account whose id is `id` if it may be used now (`findActiveAccount`); else null. */
export function activeAccountJson(id: SQLWrapper): SQL {
  const members = Object.entries(columns).flatMap(([name, column]) => [sql.raw(`'${name}'`), sql`${column}`]);
  return sql`(select json_build_object(${sql.join(members, sql`, `)}) from ${users}
    where ${users.id} = ${id} and ${users.suspendedAt} is null and ${users.deletionAt} is null)`;
}

/** Reads what `activeAccountJson` gave. JSON has no instants. */
export function accountOfJson(json: Record<string, unknown>): Account {
  const account = { ...json };
  for (const [name, { dataType }] of Object.entries(columns)) {
    if (dataType === 'date' && typeof account[name] === 'string') account[name] = new Date(account[name]);
  }
  return account as Account;
}

import { sql } from 'drizzle-orm';
import type { TestApp } from './app.ts';

/** Makes the sign-ins of an account, in every browser, look as old as that. */
export async function ageSignIns(
  app: Pick<TestApp, 'database'>,
  { sub }: { sub: string },
  minutes: number,
): Promise<void> {
  await app.database.db.execute(sql`
    update oidc_sessions set login_ts = login_ts - ${minutes * 60}::int,
      payload = jsonb_set(payload, '{loginTs}', to_jsonb(login_ts - ${minutes * 60}::int))
    where account_id = ${sub}`);
}

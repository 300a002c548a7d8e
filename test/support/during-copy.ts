import { queryDatabase } from './database.ts';

/** What may happen to a database into which an installation is copied, in PL/pgSQL. */
export const copyFaults = {
  'is full': `raise exception 'could not extend file: No space left on device' using errcode = '53100'`,
  'goes away': 'perform pg_terminate_backend(pg_backend_pid())',
  /** Whoever holds the advisory lock 42 lets it go on. */
  waits: 'perform pg_advisory_xact_lock(42)',
} as const;

/**
 * Lets `fault` happen with the first row that is copied into `oidc_clients`, once the tables have been made for the `nth`
 * time: a rehearsal makes them, too, and rolls back. Counted by a sequence, which no rollback turns back.
 */
export async function duringCopy(database: { url: string }, fault: string, nth = 1): Promise<void> {
  await queryDatabase(
    database.url,
    `
      create sequence copies;
      create function plan_fault() returns event_trigger language plpgsql as $plan$
      begin
        if exists (select 1 from pg_event_trigger_ddl_commands() where object_identity = 'public.oidc_clients')
          and nextval('copies') = ${nth} then
          create function fault() returns trigger language plpgsql as $$ begin ${fault}; return new; end $$;
          create trigger fault before insert on oidc_clients for each row execute function fault();
        end if;
      end $plan$;
      create event trigger plan_fault on ddl_command_end when tag in ('CREATE TABLE') execute function plan_fault();`,
  );
}

CREATE TABLE "leases" (
	"name" text PRIMARY KEY NOT NULL,
	"holder" text NOT NULL,
	"until" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "administrator_since" timestamp with time zone;--> statement-breakpoint
CREATE INDEX "mails_kept_at" ON "mails" USING btree ("kept_at") WHERE "mails"."kept_at" is not null;--> statement-breakpoint
CREATE INDEX "oidc_session_ids_until" ON "oidc_session_ids" USING btree ("until") WHERE "oidc_session_ids"."until" is not null;--> statement-breakpoint
CREATE INDEX "oidc_sessions_ended_at" ON "oidc_sessions" USING btree ("ended_at") WHERE "oidc_sessions"."ended_at" is not null;--> statement-breakpoint
CREATE INDEX "remembered_devices_expires_at" ON "remembered_devices" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "users_deletion_at" ON "users" USING btree ("deletion_at") WHERE "users"."deletion_at" is not null;--> statement-breakpoint
-- What every process keeps in memory (src/db/notices.ts) tells of its changes, in the transaction of the change. A row that
-- is one client's names the client, so that nothing else is looked up again; of the others there are few.
CREATE FUNCTION notice_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('latchkey', TG_TABLE_NAME);
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE FUNCTION notice_client_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('latchkey', TG_TABLE_NAME || ' ' || left(CASE TG_OP WHEN 'INSERT' THEN NEW.client_id ELSE OLD.client_id END, 1000));
  RETURN NULL;
END $$;
--> statement-breakpoint
-- Not of a new client: that there is none is not kept in memory.
CREATE TRIGGER oidc_clients_notice AFTER UPDATE OR DELETE ON oidc_clients FOR EACH ROW EXECUTE FUNCTION notice_client_change();
--> statement-breakpoint
CREATE TRIGGER oidc_clients_notice_all AFTER TRUNCATE ON oidc_clients EXECUTE FUNCTION notice_change();
--> statement-breakpoint
CREATE TRIGGER client_apis_notice AFTER INSERT OR UPDATE OR DELETE ON client_apis FOR EACH ROW EXECUTE FUNCTION notice_client_change();
--> statement-breakpoint
CREATE TRIGGER client_apis_notice_all AFTER TRUNCATE ON client_apis EXECUTE FUNCTION notice_change();
--> statement-breakpoint
CREATE TRIGGER token_exchange_permissions_notice AFTER INSERT OR UPDATE OR DELETE ON token_exchange_permissions FOR EACH ROW EXECUTE FUNCTION notice_client_change();
--> statement-breakpoint
CREATE TRIGGER token_exchange_permissions_notice_all AFTER TRUNCATE ON token_exchange_permissions EXECUTE FUNCTION notice_change();
--> statement-breakpoint
CREATE TRIGGER apis_notice AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON apis EXECUTE FUNCTION notice_change();
--> statement-breakpoint
CREATE TRIGGER authorization_details_types_notice AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON authorization_details_types EXECUTE FUNCTION notice_change();
--> statement-breakpoint
CREATE TRIGGER signing_keys_notice AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON signing_keys EXECUTE FUNCTION notice_change();
--> statement-breakpoint
-- Tables in which rows come and go all day: cleaned when one row in fifty is dead and not one in five, so that new rows take the
-- places of old ones before a table grows; the planner's numbers follow. The pace (cost_delay) stays PostgreSQL's own.
ALTER TABLE "oidc_grants" SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
--> statement-breakpoint
ALTER TABLE "oidc_sessions" SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
--> statement-breakpoint
ALTER TABLE "oidc_session_ids" SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05);
--> statement-breakpoint
ALTER TABLE "oidc_interaction" SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05);
--> statement-breakpoint
ALTER TABLE "throttles" SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 0.05);
--> statement-breakpoint
ALTER TABLE "mails" SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
--> statement-breakpoint
ALTER TABLE "backchannel_logouts" SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
--> statement-breakpoint
ALTER TABLE "email_tokens" SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
--> statement-breakpoint
ALTER TABLE "passkey_challenges" SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
--> statement-breakpoint
ALTER TABLE "playground_runs" SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
--> statement-breakpoint
-- Each event is changed once, when it is chained.
ALTER TABLE "audit_events" SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

CREATE TABLE "apis" (
	"identifier" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"scopes" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"token_format" text DEFAULT 'jwt' NOT NULL,
	"signing_alg" text DEFAULT 'ES256' NOT NULL,
	"token_lifetime_seconds" integer NOT NULL,
	"any_client" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_events" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "audit_events_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"event" text NOT NULL,
	"account_id" text,
	"client_id" text,
	"session_uid" text,
	"address" text,
	"user_agent" text,
	"request_id" text,
	"details" jsonb DEFAULT '{}'::jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "authorization_details_types" (
	"type" text PRIMARY KEY NOT NULL,
	"api_identifier" text NOT NULL,
	"title" text NOT NULL,
	"actions" text[] DEFAULT '{}' NOT NULL,
	"fields" text[] DEFAULT '{}' NOT NULL
);
--> statement-breakpoint
CREATE TABLE "backchannel_logouts" (
	"id" text PRIMARY KEY NOT NULL,
	"client_id" text NOT NULL,
	"account_id" text NOT NULL,
	"sid" text,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "client_apis" (
	"client_id" text NOT NULL,
	"api_identifier" text NOT NULL,
	"scopes" text[] DEFAULT '{}' NOT NULL,
	"may_introspect" boolean DEFAULT false NOT NULL,
	CONSTRAINT "client_apis_client_id_api_identifier_pk" PRIMARY KEY("client_id","api_identifier")
);
--> statement-breakpoint
CREATE TABLE "token_exchange_permissions" (
	"client_id" text NOT NULL,
	"subject_api" text NOT NULL,
	"target_api" text NOT NULL,
	"mode" text NOT NULL,
	CONSTRAINT "token_exchange_permissions_client_id_subject_api_target_api_mode_pk" PRIMARY KEY("client_id","subject_api","target_api","mode")
);
--> statement-breakpoint
ALTER TABLE "signing_keys" ALTER COLUMN "private_jwk_encrypted" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "consents" ADD COLUMN "granted_api_scopes" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "consents" ADD COLUMN "refused_api_scopes" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "oidc_clients" ADD COLUMN "authorization_metadata" jsonb;--> statement-breakpoint
ALTER TABLE "oidc_clients" ADD COLUMN "used_at" timestamp with time zone DEFAULT now();--> statement-breakpoint
ALTER TABLE "oidc_clients" ADD COLUMN "document_fetched_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "oidc_clients" ADD COLUMN "document_fresh_until" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "signing_keys" ADD COLUMN "activated_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "signing_keys" ADD COLUMN "retired_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "signing_keys" ADD COLUMN "published_until" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "authorization_details_types" ADD CONSTRAINT "authorization_details_types_api_identifier_apis_identifier_fk" FOREIGN KEY ("api_identifier") REFERENCES "public"."apis"("identifier") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "backchannel_logouts" ADD CONSTRAINT "backchannel_logouts_client_id_oidc_clients_client_id_fk" FOREIGN KEY ("client_id") REFERENCES "public"."oidc_clients"("client_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "client_apis" ADD CONSTRAINT "client_apis_client_id_oidc_clients_client_id_fk" FOREIGN KEY ("client_id") REFERENCES "public"."oidc_clients"("client_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "client_apis" ADD CONSTRAINT "client_apis_api_identifier_apis_identifier_fk" FOREIGN KEY ("api_identifier") REFERENCES "public"."apis"("identifier") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "token_exchange_permissions" ADD CONSTRAINT "token_exchange_permissions_client_id_oidc_clients_client_id_fk" FOREIGN KEY ("client_id") REFERENCES "public"."oidc_clients"("client_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "token_exchange_permissions" ADD CONSTRAINT "token_exchange_permissions_subject_api_apis_identifier_fk" FOREIGN KEY ("subject_api") REFERENCES "public"."apis"("identifier") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "token_exchange_permissions" ADD CONSTRAINT "token_exchange_permissions_target_api_apis_identifier_fk" FOREIGN KEY ("target_api") REFERENCES "public"."apis"("identifier") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_events_at" ON "audit_events" USING btree ("at");--> statement-breakpoint
CREATE INDEX "audit_events_account_id" ON "audit_events" USING btree ("account_id") WHERE "audit_events"."account_id" is not null;--> statement-breakpoint
CREATE INDEX "audit_events_client_id" ON "audit_events" USING btree ("client_id") WHERE "audit_events"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "backchannel_logouts_next_attempt_at" ON "backchannel_logouts" USING btree ("next_attempt_at");--> statement-breakpoint
CREATE INDEX "client_apis_api" ON "client_apis" USING btree ("api_identifier");--> statement-breakpoint
CREATE INDEX "oidc_clients_unused" ON "oidc_clients" USING btree ("created_at") WHERE "oidc_clients"."used_at" is null and "oidc_clients"."registered_by" <> 'operator';--> statement-breakpoint
CREATE UNIQUE INDEX "signing_keys_one_of_each" ON "signing_keys" USING btree ("alg","state") WHERE "signing_keys"."state" in ('next', 'current');--> statement-breakpoint
ALTER TABLE "oidc_clients" ADD CONSTRAINT "oidc_clients_id_is_nobodys" CHECK (left("oidc_clients"."client_id", 2) not in ('u_', 'p_'));--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_id_is_a_persons" CHECK (left("users"."id", 2) = 'u_');
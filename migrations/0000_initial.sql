CREATE TABLE "client_logos" (
	"client_id" text PRIMARY KEY NOT NULL,
	"source_uri" text NOT NULL,
	"content_type" text,
	"body" "bytea",
	"fetched_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "consents" (
	"account_id" text NOT NULL,
	"client_id" text NOT NULL,
	"granted_scopes" text[] DEFAULT '{}' NOT NULL,
	"refused_scopes" text[] DEFAULT '{}' NOT NULL,
	"granted_claims" text[] DEFAULT '{}' NOT NULL,
	"refused_claims" text[] DEFAULT '{}' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "consents_account_id_client_id_pk" PRIMARY KEY("account_id","client_id")
);
--> statement-breakpoint
CREATE TABLE "initial_access_tokens" (
	"token_hash" text PRIMARY KEY NOT NULL,
	"label" text,
	"uses_left" integer,
	"expires_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "oidc_clients" (
	"client_id" text PRIMARY KEY NOT NULL,
	"metadata" jsonb NOT NULL,
	"secret_hash" text,
	"previous_secret_hash" text,
	"previous_secret_expires_at" timestamp with time zone,
	"registration_token_hash" text,
	"registered_by" text NOT NULL,
	"first_party" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "oidc_grants" (
	"model" text NOT NULL,
	"id" text NOT NULL,
	"payload" jsonb NOT NULL,
	"grant_id" text,
	"user_code" text,
	"account_id" text,
	"client_id" text,
	"id_encrypted" text,
	"expires_at" timestamp with time zone,
	"consumed_at" timestamp with time zone,
	CONSTRAINT "oidc_grants_model_id_pk" PRIMARY KEY("model","id")
);
--> statement-breakpoint
CREATE TABLE "oidc_interaction" (
	"id" text PRIMARY KEY NOT NULL,
	"payload" jsonb NOT NULL,
	"client_id" text,
	"account_id" text,
	"expires_at" timestamp with time zone NOT NULL,
	"finished_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "oidc_session_ids" (
	"id_hash" text PRIMARY KEY NOT NULL,
	"uid" text NOT NULL,
	"until" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "oidc_sessions" (
	"uid" text PRIMARY KEY NOT NULL,
	"account_id" text,
	"payload" jsonb NOT NULL,
	"login_ts" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"ended_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "playground_runs" (
	"id_hash" text PRIMARY KEY NOT NULL,
	"payload_encrypted" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "provider_secrets" (
	"name" text PRIMARY KEY NOT NULL,
	"value_encrypted" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "signing_keys" (
	"kid" text PRIMARY KEY NOT NULL,
	"alg" text NOT NULL,
	"state" text NOT NULL,
	"public_jwk" jsonb NOT NULL,
	"private_jwk_encrypted" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "throttles" (
	"key" text PRIMARY KEY NOT NULL,
	"hits" integer NOT NULL,
	"window_ends_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "users" (
	"id" text PRIMARY KEY NOT NULL,
	"email" text NOT NULL,
	"email_normalized" text NOT NULL,
	"email_verified" boolean DEFAULT false NOT NULL,
	"password_hash" text,
	"name" text NOT NULL,
	"given_name" text,
	"family_name" text,
	"middle_name" text,
	"nickname" text,
	"preferred_username" text,
	"profile" text,
	"picture" text,
	"website" text,
	"gender" text,
	"birthdate" text,
	"zoneinfo" text,
	"locale" text,
	"phone_number" text,
	"phone_number_verified" boolean DEFAULT false NOT NULL,
	"street_address" text,
	"locality" text,
	"region" text,
	"postal_code" text,
	"country" text,
	"suspended_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "client_logos" ADD CONSTRAINT "client_logos_client_id_oidc_clients_client_id_fk" FOREIGN KEY ("client_id") REFERENCES "public"."oidc_clients"("client_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "consents" ADD CONSTRAINT "consents_account_id_users_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "consents" ADD CONSTRAINT "consents_client_id_oidc_clients_client_id_fk" FOREIGN KEY ("client_id") REFERENCES "public"."oidc_clients"("client_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "oidc_session_ids" ADD CONSTRAINT "oidc_session_ids_uid_oidc_sessions_uid_fk" FOREIGN KEY ("uid") REFERENCES "public"."oidc_sessions"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "consents_client_id" ON "consents" USING btree ("client_id");--> statement-breakpoint
CREATE INDEX "oidc_grants_grant_id" ON "oidc_grants" USING btree ("grant_id") WHERE "oidc_grants"."grant_id" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "oidc_grants_user_code" ON "oidc_grants" USING btree ("user_code") WHERE "oidc_grants"."user_code" is not null;--> statement-breakpoint
CREATE INDEX "oidc_grants_account_id" ON "oidc_grants" USING btree ("account_id") WHERE "oidc_grants"."account_id" is not null;--> statement-breakpoint
CREATE INDEX "oidc_grants_client_id" ON "oidc_grants" USING btree ("client_id") WHERE "oidc_grants"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "oidc_grants_expires_at" ON "oidc_grants" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "oidc_interaction_expires_at" ON "oidc_interaction" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "oidc_session_ids_uid" ON "oidc_session_ids" USING btree ("uid");--> statement-breakpoint
CREATE INDEX "oidc_sessions_account_id" ON "oidc_sessions" USING btree ("account_id") WHERE "oidc_sessions"."account_id" is not null;--> statement-breakpoint
CREATE INDEX "oidc_sessions_expires_at" ON "oidc_sessions" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "playground_runs_expires_at" ON "playground_runs" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "throttles_window_ends_at" ON "throttles" USING btree ("window_ends_at");--> statement-breakpoint
CREATE UNIQUE INDEX "users_email_normalized" ON "users" USING btree ("email_normalized");
#!/bin/bash
# Runs once, in an empty primary: the roles, the database, and what Latchkey wants of both. Secrets come from files.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --username postgres \
  --set database_password="$(cat /run/secrets/database-password)" \
  --set replication_password="$(cat /run/secrets/replication-password)" <<'SQL'
create role latchkey login password :'database_password';
create database latchkey owner latchkey;
create role replicator login replication password :'replication_password';

-- Kept by the server, because a transaction pooler cannot keep it per client. No statement_timeout: migrations and
-- backups of this role may take long, and Latchkey gives requests up by itself.
alter role latchkey set idle_in_transaction_session_timeout = '60s';

-- Takes effect when the server starts for good: from then on a commit is acknowledged once a standby has it on disk.
alter system set synchronous_standby_names = '*';
SQL
echo 'host replication replicator all scram-sha-256' >> "$PGDATA/pg_hba.conf"

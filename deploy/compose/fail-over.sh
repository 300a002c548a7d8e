#!/bin/sh
# The primary is dead: its standby takes over. Latchkey answers 503 meanwhile and needs no restart.
set -eu
cd "$(dirname "$0")"
compose() { docker compose -f compose.yml "$@"; }

# Whatever it was, it must not come back as a second primary.
compose rm --stop --force postgres-1
sql() { compose exec --user postgres postgres-2 psql --command "$1"; }
# It has no standby of its own to wait for.
sql 'alter system reset synchronous_standby_names'
sql 'select pg_reload_conf()'
sql 'select pg_promote()'
sed -i 's/host=postgres-1 /host=postgres-2 /' ../pgbouncer/pgbouncer.ini
compose kill --signal HUP pgbouncer
echo 'postgres-2 is the primary. Its answers are not copied anywhere now: build a new standby (docs/deployment.md).'

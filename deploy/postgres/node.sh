#!/bin/bash
# Starts one of two PostgreSQL nodes. What is in its folder decides what it is; an empty one becomes a new primary when
# PRIMARY names this node, and else a copy of PRIMARY that follows it.
set -euo pipefail
: "${PRIMARY:?}" "${NODE:?}" "${PGDATA:?}"

if [ ! -s "$PGDATA/PG_VERSION" ] && [ "$NODE" != "$PRIMARY" ]; then
  PGPASSWORD="$(cat /run/secrets/replication-password)"
  export PGPASSWORD
  # Made aside, so that a copy that broke half-way is never started.
  rm -rf "$PGDATA.new"
  until gosu postgres pg_basebackup --pgdata "$PGDATA.new" --write-recovery-conf --checkpoint=fast \
    --dbname "host=$PRIMARY user=replicator application_name=$NODE"; do
    echo "$PRIMARY cannot be copied yet."
    sleep 2
  done
  unset PGPASSWORD
  mv -T "$PGDATA.new" "$PGDATA"
fi
exec docker-entrypoint.sh postgres "$@"

#!/bin/sh
# Makes the secrets of compose.yml, each once: what is there stays. Keep this folder with your backups.
set -eu
cd "$(dirname "$0")"
# The folder keeps others of this machine out; the users inside the containers must read the files.
mkdir -p secrets && chmod 0700 secrets && cd secrets
umask 022

make() { # <file> <command>…
  file=$1
  shift
  [ -s "$file" ] || { "$@" > "$file.new" && mv "$file.new" "$file"; }
}
line() { printf '%s\n' "$1"; }

make postgres-password openssl rand -hex 24
make replication-password openssl rand -hex 24
make database-password openssl rand -hex 24
make cookie-secret openssl rand -base64 48
make encryption-key openssl rand -base64 32
password=$(cat database-password)
make database-url line "postgres://latchkey:$password@pgbouncer:6432/latchkey"
make pgbouncer-users.txt line "\"latchkey\" \"$password\""
# For a first look at https://localhost. Put the real certificate of your name here.
[ -s tls.crt ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
  -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout tls.key -out tls.crt 2> /dev/null
chmod 0644 tls.key
echo "The secrets are in $(pwd)."

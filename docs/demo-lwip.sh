#!/bin/sh
# A host on a virtual network sees a session's life: from the stand-in for openl2tpd over the event socket, the
# gateway on lwIP, Debian's vde_switch and a tap interface of the kernel's, which plays the host.
set -eu
if [ -z "${DEMO_NETWORK:-}" ]; then
    # All networks here are the demo's own.
    user=
    [ "$(id -u)" = 0 ] || user=-r
    DEMO_NETWORK=own exec unshare -n $user sh "$0" "$@"
fi
examples=$1
library=$(realpath "$2")
directory=$(mktemp -d)
running=
trap 'kill $running 2>/dev/null || :; wait; rm -rf "$directory"' EXIT
socket=$directory/openl2tpd.evt
printf '[event_sock]\npath = "%s"\n' "$socket" >"$directory/herald.toml"

# Waits until there is something.
until_there() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 500 ] || { echo "demo: in vain: $*" >&2; exit 1; }
        sleep 0.01
    done
}

echo "A VDE switch; the gateway is at one port:"
mkfifo "$directory/console"
vde_switch -s "$directory/switch" <"$directory/console" >/dev/null &
running="$running $!"
exec 4>"$directory/console"
until_there test -S "$directory/switch/ctl"
"$examples/lwip_gateway" -w "$directory/capture.pcap" "vdeport:$directory/switch" "$socket" &
gateway=$!
running="$running $gateway"

echo "A host of the kernel's is at another:"
vde_plug2tap -s "$directory/switch" tap0 &
running="$running $!"
until_there ip link show tap0
ip address add 10.17.0.2/24 dev tap0
ip link set tap0 up
ip -brief address show dev tap0

echo "The daemon's side loads $library; the client is behind the switch:"
mkfifo "$directory/commands"
HERALD_CONFIG=$directory/herald.toml "$examples/l2tp_host" -p "$library" <"$directory/commands" &
running="$running $!"
exec 3>"$directory/commands"
until_there test -S "$socket"
socat "UNIX-LISTEN:$directory/remote.evt" TCP:10.17.0.1:1701 &
running="$running $!"
"$examples/event_client" -w -n 4 "$directory/remote.evt" &
client=$!
# Long enough for the client to have subscribed through it all.
echo 'pause 1000' >&3
for command in 'created 1230 55638' 'up 1230 55638 22910 64529' 'down 1230 55638' 'deleted 1230 55638'; do
    echo "$command" >&3
done
wait $client
exec 3>&-
kill "$gateway"
wait "$gateway"
exec 4>&-
echo "That is all: CREATED, UP, DOWN, DELETED. On the switch's wire, as captured:"
tcpdump -nr "$directory/capture.pcap" tcp port 1701 2>/dev/null | sed -n '1,4p'

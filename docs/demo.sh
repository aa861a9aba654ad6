#!/bin/sh
# The stand-in host loads the plugin as openl2tpd does, and a client sees a session's life.
set -eu
examples=$1
library=$(realpath "$2")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
printf '[event_sock]\npath = "%s/openl2tpd.evt"\n' "$directory" >"$directory/herald.toml"

echo "A host loads $library; a client listens on $directory/openl2tpd.evt:"
mkfifo "$directory/commands"
HERALD_CONFIG=$directory/herald.toml "$examples/l2tp_host" -p "$library" <"$directory/commands" >/dev/null &
exec 3>"$directory/commands"
"$examples/event_client" -w -m 2f "$directory/openl2tpd.evt" | tee "$directory/events" | grep --line-buffered SESSION &
client=$!
# A client gets what happens once it has subscribed: it is seen to have by a tunnel that it is told of.
until [ -s "$directory/events" ]; do
    kill -0 $client
    echo 'tunnel-created 1230' >&3
    sleep 0.1
done
for command in 'created 1230 55638' 'up 1230 55638 22910 64529' 'down 1230 55638' 'deleted 1230 55638' exit; do
    echo "$command" >&3
done
wait
echo "That is all: CREATED, UP, DOWN, DELETED."

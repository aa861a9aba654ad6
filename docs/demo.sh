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
HERALD_CONFIG=$directory/herald.toml "$examples/l2tp_host" -p "$library" <"$directory/commands" &
exec 3>"$directory/commands"
"$examples/event_client" -w -n 4 "$directory/openl2tpd.evt" &
client=$!
# The host's answer to a pause says that it serves; the client has subscribed by then.
echo 'pause 500' >&3
for command in 'created 1230 55638' 'up 1230 55638 22910 64529' 'down 1230 55638' 'deleted 1230 55638'; do
    echo "$command" >&3
done
wait $client
exec 3>&-
wait
echo "That is all: CREATED, UP, DOWN, DELETED."

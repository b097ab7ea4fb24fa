#!/bin/sh
# Runs a program against a server of its own: sh with_server.sh python3 first.py
data=$(mktemp -d)
twistd --nodaemon --pidfile= evcharge --port 8888 --web-port 8080 --data "$data/data" \
    --time-scale 60 >"$data/log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null; rm -r "$data"' EXIT
until evcharge ask START limit=1 >/dev/null 2>&1; do
    kill -0 $server || { cat "$data/log"; exit 1; }
    sleep 0.2
done
"$@"

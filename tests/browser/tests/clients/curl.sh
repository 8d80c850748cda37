#!/bin/sh
# One stream of curl: curl.sh URL FOLDER. What each connection receives becomes a file of its own: FOLDER/1, FOLDER/2 ...
# It resumes after the last complete event, as a script that reads a stream with curl must.
last= turn=0
while :; do
  turn=$((turn + 1))
  curl --silent --no-buffer --noproxy '*' ${last:+--header "Last-Event-ID: $last"} "$1" >"$2/$turn"
  whole=$(awk '/^id: /{id = substr($0, 5)} /^$/{if (id) last = id} END{print last}' "$2/$turn")
  last=${whole:-$last}
  sleep 1
done

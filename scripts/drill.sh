#!/bin/sh
# The restore drill: a demo company is backed up while its server runs, restored beside it, checked and compared.
#
#   ENCOURS=target/release/encours scripts/drill.sh
set -eu
encours=${ENCOURS:-target/release/encours}
here=$(dirname "$0")
work=$(mktemp -d)
# As root, PostgreSQL runs as another account, which has to get in.
chmod 711 "$work"
"$encours" serve --demo --data "$work/data" --listen 127.0.0.1:0 --job-seconds 1 > "$work/out" 2> "$work/err" &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 1 240); do
    if grep -q '^listening' "$work/out"; then break; fi
    kill -0 $server || { cat "$work/err" >&2; exit 1; }
    sleep 0.5
done
# A while of background work, so that there are files and mails too.
sleep 5
bin=${ENCOURS_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)}
base="host=$work/data/run port=5432 user=encours"
began=$(date +%s)
sh "$here/backup.sh" "$work/backup" "$base dbname=encours" "$work/data/files"
"$bin/psql" -d "$base dbname=encours" -qc 'CREATE DATABASE restored'
ENCOURS=$encours sh "$here/restore.sh" "$work/backup" "$base dbname=restored" "$work/restored-files"
ended=$(date +%s)
for table in documents journal_lines items files outbox changes; do
    count() { "$bin/psql" -d "$base dbname=$1" -Atqc "SELECT count(*) FROM $table"; }
    was=$(count encours) is=$(count restored)
    # The server goes on working meanwhile: the copy has what was there when the dump began.
    [ "$is" -le "$was" ] && [ "$is" -gt 0 ] || { echo "$table: $was became $is" >&2; exit 1; }
    echo "$table: $is of $was"
done
for file in $("$bin/psql" -d "$base dbname=restored" -Atqc 'SELECT DISTINCT sha256 FROM files'); do
    path=$(find "$work/restored-files" -name "$file")
    [ "$(sha256sum < "$path" | cut -d' ' -f1)" = "$file" ] || { echo "file $file is not whole" >&2; exit 1; }
done
echo "the drill holds: backup, restore and check in $((ended - began)) s"

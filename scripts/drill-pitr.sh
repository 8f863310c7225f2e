#!/bin/sh
# The point-in-time drill: base backup and archived log, a loss of the whole database, and the way back to the moment
# before a mistake. Proves the books there, and prints how far back a loss throws and how fast the way back is.
#
#   ENCOURS=target/release/encours scripts/drill-pitr.sh
#
# ARCHIVE_TIMEOUT (60) is the recovery point that is drilled: the drill waits for it.
set -eu
encours=${ENCOURS:-target/release/encours}
timeout=${ARCHIVE_TIMEOUT:-60}
bin=${ENCOURS_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)}
work=$(mktemp -d)
# As root, PostgreSQL runs as another account, which has to get in.
chmod 711 "$work"
mkdir "$work/archive" "$work/base"
server=
serve() {
    "$encours" serve --demo --data "$work/data" --listen 127.0.0.1:0 --job-seconds 3600 > "$work/out" 2>> "$work/err" &
    server=$!
    for _ in $(seq 1 600); do
        if grep -q '^listening' "$work/out"; then return; fi
        kill -0 $server || { cat "$work/err" >&2; exit 1; }
        sleep 0.5
    done
    echo "the server does not start" >&2
    exit 1
}
stop() {
    if [ -n "$server" ]; then kill "$1" $server 2>/dev/null || true; wait $server 2>/dev/null || true; fi
    server=
}
postmaster() { head -1 "$work/data/postgres/postmaster.pid" 2>/dev/null || true; }
trap 'stop -TERM; left=$(postmaster); [ -z "$left" ] || kill -INT $left 2>/dev/null || true; rm -rf "$work"' EXIT
url="host=$work/data/run port=5432 user=encours dbname=encours"
sql() { "$bin/psql" -d "$url" -Atqc "$1"; }
seconds() { awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $1 }"; }
# Invoices of one name, a mistake or not.
load() {
    { echo 'client,number,issuedOn,amount,vatRate'
      for n in $(seq 1 "$2"); do echo "C001,$1-$n,$(date +%Y)-01-02,120.00,20"; done; } > "$work/$1.csv"
    "$encours" import receivables "$work/$1.csv" --company "$company" --data "$work/data" > /dev/null
}
# Waits until the log so far is in the archive.
archived() {
    wal=$(sql 'SELECT pg_walfile_name(pg_current_wal_lsn())')
    for _ in $(seq 1 $(((timeout + 60) * 5))); do
        if [ -f "$work/archive/$wal" ]; then return; fi
        sleep 0.2
    done
    echo "$wal is not archived" >&2
    exit 1
}
counted() {
    sql "SELECT string_agg(n, ' ') FROM (SELECT count(*)::text AS n FROM documents UNION ALL SELECT count(*)::text FROM journal_lines
         UNION ALL SELECT sum(debit)::text FROM journal_lines UNION ALL SELECT count(*)::text FROM items) x"
}

serve
account=$(stat -c %U "$work/data/postgres")
as_database() { if [ "$(id -u)" = 0 ]; then runuser -u "$account" -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown "$account" "$work/archive" "$work/base"; fi
chmod 700 "$work/base"
company="com_$(sql 'SELECT replace(company_id::text, $$-$$, $$$$) FROM companies LIMIT 1')"
# A private database takes the same settings as any other; archiving begins with its next start.
sql "ALTER SYSTEM SET archive_mode = on"
sql "ALTER SYSTEM SET archive_timeout = $timeout"
sql "ALTER SYSTEM SET archive_command = 'test ! -f $work/archive/%f && cp %p $work/archive/.%f && mv $work/archive/.%f $work/archive/%f'"
stop -TERM
serve
(cd / && as_database "$bin/pg_basebackup" -d "${url% dbname=*}" -D "$work/base" -X stream -c fast)
# Good work after the base backup.
load BEFORE 200
began=$(date +%s.%N)
archived
echo "recovery point: what was written is in the archive after $(seconds "$began") s (archive_timeout $timeout s)"
moment=$(sql 'SELECT clock_timestamp()')
was=$(counted)
sleep 1
# The mistake, and whatever came after it.
load MISTAKE 50
sql 'SELECT pg_switch_wal()' > /dev/null
sleep 1
sql 'CREATE TABLE later (at timestamptz); DROP TABLE later'
sql 'SELECT pg_switch_wal()' > /dev/null
archived_to=$(sql 'SELECT pg_walfile_name(pg_current_wal_lsn() - 1)')
for _ in $(seq 1 300); do [ -f "$work/archive/$archived_to" ] && break; sleep 0.2; done
# The loss: server and database are gone, and so is all that was on their disk.
lost=$(postmaster)
stop -KILL
kill -9 "$lost" 2>/dev/null || true
sleep 1
rm -rf "$work/data/postgres"
# The way back.
began=$(date +%s.%N)
cp -a "$work/base" "$work/data/postgres"
cat >> "$work/data/postgres/postgresql.auto.conf" <<CONF
restore_command = 'cp $work/archive/%f %p'
recovery_target_time = '$moment'
recovery_target_action = 'promote'
CONF
touch "$work/data/postgres/recovery.signal"
if [ "$(id -u)" = 0 ]; then chown "$account" "$work/data/postgres/recovery.signal"; fi
mkdir -p "$work/socket" && chmod 777 "$work/socket"
(cd / && as_database "$bin/pg_ctl" -D "$work/data/postgres" -w -t 600 -l "$work/socket/log" \
    -o "-c listen_addresses= -c port=5432 -c unix_socket_directories=$work/socket" start > /dev/null) || { cat "$work/socket/log" >&2; exit 1; }
recovered="host=$work/socket port=5432 user=encours dbname=encours"
for _ in $(seq 1 3000); do
    [ "$("$bin/psql" -d "$recovered" -Atqc 'SELECT pg_is_in_recovery()')" = f ] && break
    sleep 0.1
done
took=$(seconds "$began")
bytes=$("$bin/psql" -d "$recovered" -Atqc "SELECT pg_database_size('encours')")
# What archived the lost database must not archive this one into the same place.
"$bin/psql" -d "$recovered" -qc 'ALTER SYSTEM RESET ALL'
(cd / && as_database "$bin/pg_ctl" -D "$work/data/postgres" -w stop > /dev/null)
"$encours" check --data "$work/data"
serve
is=$(counted)
[ "$is" = "$was" ] || { echo "documents, lines, debits and items were $was and are $is" >&2; exit 1; }
before=$(sql "SELECT count(*) FROM documents WHERE number LIKE 'BEFORE-%'")
mistake=$(sql "SELECT count(*) FROM documents WHERE number LIKE 'MISTAKE-%'")
[ "$before" = 200 ] && [ "$mistake" = 0 ] || { echo "BEFORE $before of 200, MISTAKE $mistake of 0" >&2; exit 1; }
awk "BEGIN { gb = $bytes / 1e9; printf \"restore: %.3f GB in $took s, %.0f s per GB\\n\", gb, $took / gb }"
echo "the drill holds: back at the moment before the mistake, 200 of 200 invoices, nothing of it, the books are right"

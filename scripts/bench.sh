#!/bin/sh
# Makes companies of each size once, then asks the questions: scripts/bench.sh s m
#
# The databases stay in $BENCH_DATA (about 5 GB for s, 6 GB for m and 35 GB for l, the log of PostgreSQL included) and are used again.
set -eu
cd "$(dirname "$0")/.."
data=${BENCH_DATA:-/var/tmp/encours-bench}
seconds=${BENCH_SECONDS:-5}
# The server is built with them, since a benchmark may run it.
cargo bench --locked --bench data --bench questions --no-run
encours=$PWD/${CARGO_TARGET_DIR:-target}/release/encours
case ${CARGO_TARGET_DIR:-} in /*) encours=$CARGO_TARGET_DIR/release/encours ;; esac
grep -m1 'model name' /proc/cpuinfo || true
echo "$(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo) of memory"
url=
# The server is there for its private database: it serves as long as somebody holds its leash.
start() {
    rm -f "$place/leash"
    mkfifo "$place/leash"
    ENCOURS_STOP_ON_EOF=1 "$encours" serve --no-jobs --data "$place/db" --listen 127.0.0.1:0 --balances-megabytes 0 \
        < "$place/leash" > "$place/out" &
    server=$!
    exec 9> "$place/leash"
    until grep -q '^listening' "$place/out"; do
        kill -0 $server
        sleep 0.2
    done
    url="host=$place/db/run port=5432 user=encours dbname=encours"
}
stop() {
    exec 9>&-
    wait $server
    rm "$place/leash"
}
for size in "${@:-s}"; do
    place=$data/$size
    mkdir -p "$place"
    chmod 711 "$data" "$place"
    if [ ! -e "$place/made" ]; then
        rm -rf "$place/db" && mkdir "$place/db"
        start
        # Both sides are to find the data in memory. Deductions and disputes are made one by one: fewer for the largest.
        buffers=1GB log=4GB files=256 quarrels=100000
        [ "$size" != l ] || { buffers=4GB log=16GB files=1024 quarrels=1000; }
        psql=$(ls -d /usr/lib/postgresql/*/bin | tail -1)/psql
        "$psql" -X -q "$url" -c "ALTER SYSTEM SET shared_buffers = '$buffers'" -c "ALTER SYSTEM SET max_wal_size = '$log'" \
            -c "ALTER SYSTEM SET min_wal_size = '$log'"
        stop
        start
        # A server that has run for a while writes its log into files of before; a new one makes each of them first.
        "$psql" -X -q -o /dev/null "$url" -c "SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal() FROM generate_series(1, $files)" \
            -c CHECKPOINT
        cargo bench --locked --bench data -- --size "$size" --quarrels "$quarrels" --database-url "$url" | tee "$place/made.part"
        stop
        mv "$place/made.part" "$place/made"
    fi
    echo
    echo "== size $size"
    cat "$place/made"
    cargo bench --locked --bench questions -- --data "$place/db" --encours "$encours" --seconds "$seconds"
done

#!/bin/sh
# Makes companies of each size once, then asks the questions: scripts/bench.sh s m
#
# The databases stay in $BENCH_DATA (about 0.2 GB for s, 2 GB for m, 20 GB for l) and are used again.
set -eu
cd "$(dirname "$0")/.."
data=${BENCH_DATA:-/var/tmp/encours-bench}
seconds=${BENCH_SECONDS:-5}
cargo bench --locked --bench data --bench questions --no-run
cargo build --release --locked
encours=$PWD/${CARGO_TARGET_DIR:-target}/release/encours
case ${CARGO_TARGET_DIR:-} in /*) encours=$CARGO_TARGET_DIR/release/encours ;; esac
grep -m1 'model name' /proc/cpuinfo || true
echo "$(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo) of memory"
for size in "${@:-s}"; do
    place=$data/$size
    mkdir -p "$place"
    chmod 711 "$data" "$place"
    if [ ! -e "$place/made" ]; then
        rm -rf "$place/db" && mkdir "$place/db"
        # The server is there for its private database.
        mkfifo "$place/leash"
        ENCOURS_STOP_ON_EOF=1 "$encours" serve --no-jobs --data "$place/db" --listen 127.0.0.1:0 --balances-megabytes 0 \
            < "$place/leash" > "$place/out" &
        server=$!
        exec 9> "$place/leash"
        until grep -q '^listening' "$place/out"; do
            kill -0 $server
            sleep 0.2
        done
        cargo bench --locked --bench data -- --size "$size" \
            --database-url "host=$place/db/run port=5432 user=encours dbname=encours" | tee "$place/made.part"
        exec 9>&-
        wait $server
        rm "$place/leash"
        mv "$place/made.part" "$place/made"
    fi
    echo
    echo "== size $size"
    cat "$place/made"
    cargo bench --locked --bench questions -- --data "$place/db" --encours "$encours" --seconds "$seconds"
done

#!/bin/sh
# Runs the API tests as if they ran on a day to come, at noon: sh scripts/another-day.sh 2027-01-01 [filters of the tests]
#
# The clock of the tests, of the servers they start and of their private PostgreSQL goes ahead by a library that stands
# before libc's. Linux only.
set -eu
umask 022

cd "$(dirname "$0")/.."
day=${1:?the day, such as 2027-01-01}
shift
noon=$(date -u -d "$day 12:00" +%s)
ahead=$((noon - $(date +%s)))
[ "$ahead" -gt 0 ] || {
    echo "$day has come: some tests have days of their own, take one to come" >&2
    exit 2
}

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$place"
cc -shared -fPIC -o "$place/clock.so" tests/api/faults/clock.c -ldl
clock="LD_PRELOAD=$place/clock.so TEST_CLOCK_SECONDS=$ahead"

# PostgreSQL runs with an environment of its own: its tools are wrapped.
tools=${ENCOURS_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -V | tail -n 1)}
[ -x "$tools/initdb" ] || {
    echo "no PostgreSQL is found: say where its initdb is with ENCOURS_PG_BIN" >&2
    exit 1
}
mkdir "$place/postgres"
for tool in "$tools"/*; do
    printf '#!/bin/sh\n%s exec "%s" "$@"\n' "$clock" "$tool" >"$place/postgres/${tool##*/}"
done
chmod 755 "$place/postgres"/*

# A server of its own would have the right time.
unset TEST_DATABASE_URL
cargo test --locked --test api --no-run
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=env $clock ENCOURS_PG_BIN=$place/postgres"
cargo test --locked --test api -- "$@"

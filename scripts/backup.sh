#!/bin/sh
# Writes a backup: one consistent dump of the database, and the attached files.
#
#   scripts/backup.sh OUT_DIR DATABASE_URL FILES_DIR
#
# For a private database the address is "host=DATA/run port=5432 user=encours dbname=encours", the files are in DATA/files.
# Files are named by their digest and never change, so they may be copied while the server runs; they are copied after
# the dump, so every file that the dump names is there. The secret that signs tokens (DATA/jwt.key) is kept elsewhere.
set -eu
out=${1:?where to write} url=${2:?which database} files=${3:?where the files are}
bin=${ENCOURS_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)}
umask 077
mkdir -p "$out"
"$bin/pg_dump" --format=custom --dbname="$url" --file="$out/database.dump.part"
mv "$out/database.dump.part" "$out/database.dump"
if [ -d "$files" ]; then
    tar -C "$files" -cf "$out/files.tar.part" .
    mv "$out/files.tar.part" "$out/files.tar"
fi
(cd "$out" && sha256sum database.dump files.tar 2>/dev/null > SHA256SUMS)
echo "backup in $out"

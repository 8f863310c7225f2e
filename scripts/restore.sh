#!/bin/sh
# Restores a backup into an empty database, unpacks the files, and checks the books on the copy.
#
#   scripts/restore.sh BACKUP_DIR DATABASE_URL FILES_DIR
set -eu
backup=${1:?which backup} url=${2:?into which database} files=${3:?where files go}
bin=${ENCOURS_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)}
encours=${ENCOURS:-encours}
(cd "$backup" && sha256sum --check --quiet SHA256SUMS)
if [ "$("$bin/psql" -d "$url" -Atqc "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" != 0 ]; then
    echo "the database is not empty: a backup is restored into an empty one" >&2
    exit 1
fi
# The serving role belongs to the server, not to the dump.
"$bin/psql" -d "$url" -qv ON_ERROR_STOP=1 <<'SQL'
DO $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'encours_app') THEN
    CREATE ROLE encours_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;
  END IF;
END $$;
SQL
"$bin/pg_restore" --exit-on-error --dbname="$url" "$backup/database.dump"
mkdir -p "$files"
[ ! -f "$backup/files.tar" ] || tar -C "$files" -xf "$backup/files.tar"
# Every invariant of the books, each seal of the journal included.
DATABASE_URL=$url "$encours" check

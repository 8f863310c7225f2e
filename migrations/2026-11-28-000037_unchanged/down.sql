DROP FUNCTION is_unchanged_alone(uuid, pg_snapshot, bigint);

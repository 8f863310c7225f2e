DROP FUNCTION refresh_statistics(uuid, bigint, bigint);

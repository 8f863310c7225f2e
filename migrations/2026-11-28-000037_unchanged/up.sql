-- Whether nothing that an answer of records shows has changed since a snapshot: no change of theirs is on the feed that
-- the snapshot did not see. A statement of its own, which says itself whose it is, as `ledger_tail_alone`. With more on
-- the feed than `most` since the oldest transaction that was under way then, it says no without looking on.
CREATE FUNCTION is_unchanged_alone(company uuid, since pg_snapshot, most bigint) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
  SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM set_config('encours.company', company::text, true), set_config('encours.portfolio', '', true);
  RETURN (
    SELECT count(*) <= most AND bool_and(pg_visible_in_snapshot(f.xid, since)
        OR f.topic NOT IN ('CLIENTS', 'DOCUMENTS', 'PAYMENTS', 'MATCHINGS', 'DISPUTES')) IS NOT FALSE
    FROM (SELECT t.xid, t.topic FROM changes t
          WHERE t.company_id = company AND t.xid >= pg_snapshot_xmin(since) ORDER BY t.xid, t.seq LIMIT most + 1) f);
END $$;
REVOKE ALL ON FUNCTION is_unchanged_alone(uuid, pg_snapshot, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_unchanged_alone(uuid, pg_snapshot, bigint) TO encours_app;

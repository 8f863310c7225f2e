-- Gathering statistics reads a sample of the whole table: an import of a company that holds a small part of it leaves that
-- to the rounds, which do it once for all companies that came meanwhile.
CREATE FUNCTION refresh_statistics(company uuid, rows bigint, part bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
DECLARE t record; plan jsonb; believed numeric; there bigint;
BEGIN
  FOR t IN SELECT c.oid::regclass AS name, CASE WHEN c.reltuples > 0 THEN greatest(1000, c.reltuples / part) ELSE 50 END AS least
    FROM pg_class c
    WHERE c.oid IN ('clients'::regclass, 'documents'::regclass, 'document_lines'::regclass, 'document_taxes'::regclass, 'payments'::regclass,
      'items'::regclass, 'allocations'::regclass, 'matchings'::regclass, 'receivable_ledger'::regclass, 'journal_entries'::regclass,
      'journal_lines'::regclass)
  LOOP
    EXIT WHEN clock_timestamp() > statement_timestamp() + interval '3 seconds';
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM %s WHERE company_id = %L', t.name, company) INTO plan;
    believed := plan #>> '{0,Plan,Plan Rows}';
    CONTINUE WHEN 4 * believed >= rows;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE company_id = $1 LIMIT $2) t', t.name) INTO there USING company, rows;
    IF there > t.least AND there > 4 * believed THEN
      EXECUTE format('ANALYZE (SKIP_LOCKED) %s', t.name);
    END IF;
  END LOOP;
EXCEPTION WHEN lock_not_available THEN
  -- Another load is gathering them: its figures will do.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION refresh_statistics(uuid, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_statistics(uuid, bigint, bigint) TO encours_app;

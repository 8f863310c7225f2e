-- A company that the planner has not seen looks empty to it: every index begins with the company, so reading all that
-- the company has looks as cheap as finding one row by its key, and each statement costs what the company holds. But
-- gathering statistics reads a sample of each table whole, seconds of a large database. So only those tables are read
-- of which the planner believes that the company has less than a quarter of its rows: `rows` of them are counted at
-- most, and what it believes costs nothing to ask. A thousand rows are read in no time by any plan, and a company that
-- is less than the sample can show is not looked for. A table that is being vacuumed is left out rather than waited
-- for, and whoever has no time is told the rest the next time.
CREATE FUNCTION refresh_statistics(company uuid, rows bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
DECLARE t record; plan jsonb; believed numeric; there bigint;
BEGIN
  FOR t IN SELECT c.oid::regclass AS name, greatest(1000, c.reltuples / 10000) AS least
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
REVOKE ALL ON FUNCTION refresh_statistics(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_statistics(uuid, bigint) TO encours_app;

-- What a company is of each table is all that a growing load has to tell the planner; the rest is told again once a
-- table has grown by half since it was last looked at. That costs a tenth.
CREATE OR REPLACE FUNCTION refresh_statistics() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
DECLARE wanted text;
BEGIN
  SELECT string_agg(format(CASE WHEN c.reltuples > 0 AND s.n_mod_since_analyze < c.reltuples / 2 THEN '%I (company_id)' ELSE '%I' END, c.relname), ', ')
  INTO wanted
  FROM unnest(ARRAY['clients', 'documents', 'document_lines', 'document_taxes', 'payments', 'items', 'allocations', 'matchings', 'receivable_ledger',
    'journal_entries', 'journal_lines']::regclass[]) t(id) JOIN pg_class c ON c.oid = t.id JOIN pg_stat_all_tables s ON s.relid = t.id;
  EXECUTE 'ANALYZE ' || wanted;
EXCEPTION WHEN lock_not_available THEN
  -- Another load is gathering them: its figures will do.
  NULL;
END
$$;

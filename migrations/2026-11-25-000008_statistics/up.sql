-- Every index begins with the company, so the planner must know how much of a table a company is: one that
-- the statistics have not seen looks empty, and reading all of it looks as cheap as finding one row. A bulk
-- load tells the planner as it grows; only the owner may, so the serving role asks by this function.
CREATE FUNCTION refresh_statistics() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
BEGIN
  ANALYZE clients, documents, document_lines, document_taxes, payments, items, allocations, matchings, receivable_ledger,
    journal_entries, journal_lines;
EXCEPTION WHEN lock_not_available THEN
  -- Another load is gathering them: its figures will do.
  NULL;
END
$$;
REVOKE ALL ON FUNCTION refresh_statistics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_statistics() TO encours_app;

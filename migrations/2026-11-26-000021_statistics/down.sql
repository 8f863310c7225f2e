CREATE OR REPLACE FUNCTION refresh_statistics() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
BEGIN
  ANALYZE clients, documents, document_lines, document_taxes, payments, items, allocations, matchings, receivable_ledger,
    journal_entries, journal_lines;
EXCEPTION WHEN lock_not_available THEN
  NULL;
END
$$;

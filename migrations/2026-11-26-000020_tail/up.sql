-- A dump that is loaded into another server brings transaction numbers that this server has not reached: readers
-- that fold the ledger below a horizon would find those rows behind every horizon, for ever. They become rows of
-- long ago. The owner calls this when the server starts.
CREATE FUNCTION rebase_ledger() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM companies c WHERE EXISTS (SELECT 1 FROM receivable_ledger l
                 WHERE l.company_id = c.company_id AND l.xid >= pg_snapshot_xmax(pg_current_snapshot()))) THEN
    RETURN false;
  END IF;
  UPDATE receivable_ledger SET xid = '1' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION rebase_ledger() FROM PUBLIC;

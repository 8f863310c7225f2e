DROP FUNCTION entry_content(journal_entries, jsonb);
DROP FUNCTION line_content(journal_lines);

-- As they were before.
CREATE OR REPLACE FUNCTION rebase_ledger() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM companies c WHERE EXISTS (SELECT 1 FROM receivable_ledger l
                 WHERE l.company_id = c.company_id AND l.xid >= pg_snapshot_xmax(pg_current_snapshot()))) THEN
    RETURN false;
  END IF;
  UPDATE receivable_ledger SET xid = '1' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION rebase_changes() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM companies c WHERE EXISTS (SELECT 1 FROM changes t
                 WHERE t.company_id = c.company_id AND t.xid >= pg_snapshot_xmax(pg_current_snapshot())))
    AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.position_xid > pg_snapshot_xmax(pg_current_snapshot())) THEN
    RETURN false;
  END IF;
  -- Rather told twice than not at all.
  UPDATE webhooks w SET position_xid = '1', position_seq = coalesce(
    (SELECT min(t.seq) - 1 FROM changes t WHERE t.company_id = w.company_id AND (t.xid, t.seq) > (w.position_xid, w.position_seq)),
    (SELECT max(t.seq) FROM changes t WHERE t.company_id = w.company_id), 0);
  UPDATE changes SET xid = '1';
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION rebase_audit() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE company uuid;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM companies c WHERE EXISTS (SELECT 1 FROM audit_entries e
                 WHERE e.company_id = c.company_id AND e.xid >= pg_snapshot_xmax(pg_current_snapshot()))) THEN
    RETURN false;
  END IF;
  FOR company IN SELECT company_id FROM companies LOOP
    WHILE seal_audit(company, 100000, '18446744073709551615') > 0 LOOP END LOOP;
  END LOOP;
  UPDATE audit_entries SET xid = '1';
  UPDATE audit_seals SET xid = '1';
  UPDATE audit_chains c SET xid = '1', seq = (SELECT coalesce(max(s.seq), 0) FROM audit_seals s WHERE s.company_id = c.company_id);
  RETURN true;
END $$;

DROP TRIGGER audit_update ON receivable_ledger;
UPDATE audited SET derived = array_remove(derived, 'xid'), compared = NULL WHERE table_name = 'receivable_ledger';
SELECT audit_trigger('receivable_ledger');
SELECT audit_updates('receivable_ledger');

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

CREATE OR REPLACE FUNCTION purge_personal_data(of_company uuid, of_erasure uuid, today date, answers_before date, addresses_before date, reminders_before date,
  trail_before date, prospects_before date) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE contact uuid;
BEGIN
  PERFORM inside_wall(of_company);
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  DELETE FROM idempotency_answers t USING idempotency i WHERE t.company_id = of_company AND i.company_id = of_company AND i.key = t.key AND i.created_at < answers_before;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'idempotency_answers'; RETURN NEXT; END IF;
  UPDATE audit_entries e SET address = NULL, who_salt = NULL WHERE e.company_id = of_company AND e.at < addresses_before AND e.address IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries.address'; RETURN NEXT; END IF;
  UPDATE audit_entries e SET before = NULL, after = NULL, details = NULL, what_salt = NULL, erasure_id = of_erasure
  WHERE e.company_id = of_company AND e.at < trail_before AND e.what_salt IS NOT NULL AND coalesce(e.before, e.after, e.details) IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
  UPDATE outbox t SET recipient = 'efface@efface.invalid', subject = '(effacé)', body = '(effacé)', last_error = NULL
  WHERE t.company_id = of_company AND t.recorded_at < reminders_before AND t.status <> 'QUEUED' AND t.recipient <> 'efface@efface.invalid';
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'outbox'; RETURN NEXT; END IF;
  UPDATE dunning_actions t SET recipient = NULL WHERE t.company_id = of_company AND t.recorded_at < reminders_before AND t.recipient IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'dunning_actions.recipient'; RETURN NEXT; END IF;
  UPDATE collection_notes t SET spoke_to = NULL, note = '(effacé)' WHERE t.company_id = of_company AND t.recorded_at < reminders_before AND t.note <> '(effacé)';
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'collection_notes'; RETURN NEXT; END IF;
  DELETE FROM legal_archive t WHERE t.company_id = of_company AND t.kept_until < today;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'legal_archive'; RETURN NEXT; END IF;
  -- Contacts of prospects: nothing was ever sold to them, and nobody spoke with them for long.
  FOR contact IN SELECT k.id FROM client_contacts k JOIN clients c ON c.company_id = k.company_id AND c.id = k.client_id
    WHERE k.company_id = of_company AND k.removed_at IS NULL AND k.created_at < prospects_before AND c.created_at < prospects_before
      AND NOT EXISTS (SELECT 1 FROM journal_lines l WHERE l.company_id = of_company AND l.client_id = c.id)
      AND NOT EXISTS (SELECT 1 FROM collection_notes x WHERE x.company_id = of_company AND x.client_id = c.id AND x.done_on >= prospects_before)
    ORDER BY k.id
  LOOP
    RETURN QUERY SELECT * FROM erase_contact(of_company, contact, of_erasure);
    PERFORM set_config('encours.erasing', of_erasure::text, true);
  END LOOP;
  PERFORM set_config('encours.erasing', '', true);
END $$;

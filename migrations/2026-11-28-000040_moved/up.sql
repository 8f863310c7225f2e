-- What a dump brings from another server is looked at company by company: on a cluster an instance then does so for the
-- companies of its machine, which another machine may have had before. A company whose newest row this server may have
-- written itself is left alone: the row is read first, and how far the server has come afterwards, so that what is written
-- meanwhile is never taken for another server's.
--
-- The ledger and the trail become rows of long ago, as before. Changes do not: who reads on from a cursor of before would skip
-- those that he had not read.

CREATE OR REPLACE FUNCTION rebase_ledger() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  reached CONSTANT xid8 := pg_snapshot_xmax(pg_current_snapshot());
  ours CONSTANT uuid[] := ARRAY(SELECT company_ids());
  ahead CONSTANT uuid[] := ARRAY(SELECT c.company_id FROM companies c WHERE c.company_id = ANY (ours)
    AND EXISTS (SELECT 1 FROM receivable_ledger l WHERE l.company_id = c.company_id AND l.xid >= reached));
  company uuid; newest xid8; rebased boolean := false;
BEGIN
  FOREACH company IN ARRAY ahead LOOP
    SELECT l.xid INTO newest FROM receivable_ledger l WHERE l.company_id = company ORDER BY l.xid DESC LIMIT 1;
    IF newest >= pg_snapshot_xmax(pg_current_snapshot()) THEN
      UPDATE receivable_ledger l SET xid = '1' WHERE l.company_id = company AND l.xid >= pg_snapshot_xmax(pg_current_snapshot());
      rebased := true;
    END IF;
  END LOOP;
  RETURN rebased;
END $$;

CREATE OR REPLACE FUNCTION rebase_changes() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  reached CONSTANT xid8 := pg_snapshot_xmax(pg_current_snapshot());
  ours CONSTANT uuid[] := ARRAY(SELECT company_ids());
  told CONSTANT uuid[] := ARRAY(SELECT c.company_id FROM companies c WHERE c.company_id = ANY (ours)
    AND EXISTS (SELECT 1 FROM changes t WHERE t.company_id = c.company_id AND t.xid >= reached));
  sent CONSTANT uuid[] := ARRAY(SELECT w.company_id FROM webhooks w WHERE w.company_id = ANY (ours) AND w.position_xid > reached);
  company uuid; newest xid8; furthest xid8; ended xid8; rebased boolean := false;
BEGIN
  FOR company IN SELECT DISTINCT found.id FROM unnest(told || sent) AS found(id) LOOP
    SELECT t.xid INTO newest FROM changes t WHERE t.company_id = company ORDER BY t.xid DESC LIMIT 1;
    SELECT w.position_xid INTO furthest FROM webhooks w WHERE w.company_id = company ORDER BY w.position_xid DESC LIMIT 1;
    IF newest >= pg_snapshot_xmax(pg_current_snapshot()) OR furthest > pg_snapshot_xmax(pg_current_snapshot()) THEN
      -- Rather told twice than not at all: they become changes of the youngest transaction that has ended for sure. They
      -- stand behind the cursors of before, unless these are ahead of this server and refused, and before what others write.
      ended := (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text::xid8;
      UPDATE webhooks w SET position_xid = ended, position_seq = coalesce(
        (SELECT min(t.seq) - 1 FROM changes t WHERE t.company_id = company AND (t.xid, t.seq) > (w.position_xid, w.position_seq)),
        (SELECT max(t.seq) FROM changes t WHERE t.company_id = company), 0)
      WHERE w.company_id = company;
      UPDATE changes t SET xid = ended WHERE t.company_id = company;
      rebased := true;
    END IF;
  END LOOP;
  RETURN rebased;
END $$;

CREATE OR REPLACE FUNCTION rebase_audit() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  reached CONSTANT xid8 := pg_snapshot_xmax(pg_current_snapshot());
  ours CONSTANT uuid[] := ARRAY(SELECT company_ids());
  ahead CONSTANT uuid[] := ARRAY(SELECT c.company_id FROM companies c WHERE c.company_id = ANY (ours)
    AND EXISTS (SELECT 1 FROM audit_entries e WHERE e.company_id = c.company_id AND e.xid >= reached));
  company uuid; newest xid8; rebased boolean := false;
BEGIN
  FOREACH company IN ARRAY ahead LOOP
    SELECT e.xid INTO newest FROM audit_entries e WHERE e.company_id = company ORDER BY e.xid DESC LIMIT 1;
    IF newest >= pg_snapshot_xmax(pg_current_snapshot()) THEN
      WHILE seal_audit(company, 100000, '18446744073709551615') > 0 LOOP END LOOP;
      UPDATE audit_entries e SET xid = '1' WHERE e.company_id = company;
      UPDATE audit_seals s SET xid = '1' WHERE s.company_id = company;
      UPDATE audit_chains c SET xid = '1', seq = (SELECT coalesce(max(s.seq), 0) FROM audit_seals s WHERE s.company_id = company)
      WHERE c.company_id = company;
      rebased := true;
    END IF;
  END LOOP;
  RETURN rebased;
END $$;

-- Which server counted is no fact of a ledger's row: renumbering it is nothing for the trail, which would get a row for each.
UPDATE audited SET derived = derived || '{xid}' WHERE table_name = 'receivable_ledger';
SELECT audit_trigger('receivable_ledger');
SELECT audit_updates('receivable_ledger');

-- What the seal of an entry covers, word for word, of rows that are at hand: a check of a whole year asks for no rows entry by
-- entry, each of which a cluster would plan anew. The form that looks for its rows is left to the former binary.
CREATE FUNCTION line_content(l journal_lines) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_array(l.line, l.account, l.client_id, l.debit, l.credit, l.currency, l.base_debit, l.base_credit, l.carried)
$$;
CREATE FUNCTION entry_content(e journal_entries, lines jsonb) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_array(e.id, e.journal, e.fiscal_year, e.number, to_char(e.posted_on, 'YYYYMMDD'), to_char(e.occurred_on, 'YYYYMMDD'),
      e.reference, e.label, e.source_kind, e.source_id, e.reversal_of, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.recorded_by)::text
    || lines::text
$$;

-- As before, with its days as times.
CREATE OR REPLACE FUNCTION purge_personal_data(of_company uuid, of_erasure uuid, today date, answers_before date, addresses_before date, reminders_before date,
  trail_before date, prospects_before date) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  contact uuid;
  -- Midnights: days and times are compared by the setting of the session, which a cluster cannot leave to its machines.
  answers timestamptz := answers_before; addresses timestamptz := addresses_before; reminders timestamptz := reminders_before;
  trail timestamptz := trail_before; prospects timestamptz := prospects_before;
BEGIN
  PERFORM inside_wall(of_company);
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  DELETE FROM idempotency_answers t USING idempotency i WHERE t.company_id = of_company AND i.company_id = of_company AND i.key = t.key AND i.created_at < answers;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'idempotency_answers'; RETURN NEXT; END IF;
  UPDATE audit_entries e SET address = NULL, who_salt = NULL WHERE e.company_id = of_company AND e.at < addresses AND e.address IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries.address'; RETURN NEXT; END IF;
  UPDATE audit_entries e SET before = NULL, after = NULL, details = NULL, what_salt = NULL, erasure_id = of_erasure
  WHERE e.company_id = of_company AND e.at < trail AND e.what_salt IS NOT NULL AND coalesce(e.before, e.after, e.details) IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
  UPDATE outbox t SET recipient = 'efface@efface.invalid', subject = '(effacé)', body = '(effacé)', last_error = NULL
  WHERE t.company_id = of_company AND t.recorded_at < reminders AND t.status <> 'QUEUED' AND t.recipient <> 'efface@efface.invalid';
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'outbox'; RETURN NEXT; END IF;
  UPDATE dunning_actions t SET recipient = NULL WHERE t.company_id = of_company AND t.recorded_at < reminders AND t.recipient IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'dunning_actions.recipient'; RETURN NEXT; END IF;
  UPDATE collection_notes t SET spoke_to = NULL, note = '(effacé)' WHERE t.company_id = of_company AND t.recorded_at < reminders AND t.note <> '(effacé)';
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'collection_notes'; RETURN NEXT; END IF;
  DELETE FROM legal_archive t WHERE t.company_id = of_company AND t.kept_until < today;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'legal_archive'; RETURN NEXT; END IF;
  -- Contacts of prospects: nothing was ever sold to them, and nobody spoke with them for long.
  FOR contact IN SELECT k.id FROM client_contacts k JOIN clients c ON c.company_id = k.company_id AND c.id = k.client_id
    WHERE k.company_id = of_company AND k.removed_at IS NULL AND k.created_at < prospects AND c.created_at < prospects
      AND NOT EXISTS (SELECT 1 FROM journal_lines l WHERE l.company_id = of_company AND l.client_id = c.id)
      AND NOT EXISTS (SELECT 1 FROM collection_notes x WHERE x.company_id = of_company AND x.client_id = c.id AND x.done_on >= prospects_before)
    ORDER BY k.id
  LOOP
    RETURN QUERY SELECT * FROM erase_contact(of_company, contact, of_erasure);
    PERFORM set_config('encours.erasing', of_erasure::text, true);
  END LOOP;
  PERFORM set_config('encours.erasing', '', true);
END $$;

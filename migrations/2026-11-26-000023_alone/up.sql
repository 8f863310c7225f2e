-- The tail is empty as a rule, once it was folded in: whether there is one is asked before the plan that reads it is
-- begun, which takes longer than its probes.
CREATE OR REPLACE FUNCTION ledger_tail(company uuid, since xid8, most bigint)
RETURNS TABLE (xid bigint, item_id uuid, client_id uuid, currency text, family text, is_debit boolean, due_on date, posted_on date,
  invoiced_on date, effective_on date, delta bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
  SET enable_hashjoin = off SET enable_mergejoin = off SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE horizon bigint; is_empty boolean;
BEGIN
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    NOT EXISTS (SELECT FROM receivable_ledger l WHERE l.company_id = company AND l.xid >= since)
    AND NOT EXISTS (SELECT FROM changes t WHERE t.company_id = company AND t.xid >= since AND t.topic = 'DISPUTES')
  INTO horizon, is_empty;
  xid := horizon;
  RETURN NEXT;
  IF is_empty THEN
    RETURN;
  END IF;
  RETURN QUERY
  (SELECT l.xid::text::bigint, l.item_id, i.client_id, i.currency::text, i.family::text, i.is_debit, i.due_on, i.posted_on,
      i.invoiced_on, l.effective_on, l.delta
    FROM receivable_ledger l JOIN items i ON i.company_id = l.company_id AND i.id = l.item_id
    WHERE l.company_id = company AND l.xid >= since LIMIT most)
  UNION ALL (SELECT t.xid::text::bigint, di.item_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM changes t JOIN dispute_items di ON di.company_id = t.company_id AND di.dispute_id = t.subject_id
    WHERE t.company_id = company AND t.xid >= since AND t.topic = 'DISPUTES' LIMIT most);
END $$;

CREATE OR REPLACE FUNCTION clients_touched(company uuid, since xid8, most bigint) RETURNS TABLE (xid bigint, client_id uuid)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
  SET enable_hashjoin = off SET enable_mergejoin = off SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE horizon bigint; is_empty boolean;
BEGIN
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    NOT EXISTS (SELECT FROM receivable_ledger l WHERE l.company_id = company AND l.xid >= since)
    AND NOT EXISTS (SELECT FROM changes t WHERE t.company_id = company AND t.xid >= since AND t.topic IN ('DISPUTES', 'CLIENTS'))
  INTO horizon, is_empty;
  xid := horizon;
  RETURN NEXT;
  IF is_empty THEN
    RETURN;
  END IF;
  RETURN QUERY
  (SELECT l.xid::text::bigint, l.client_id FROM receivable_ledger l
    WHERE l.company_id = company AND l.xid >= since LIMIT most)
  UNION ALL (SELECT t.xid::text::bigint, t.client_id FROM changes t
    WHERE t.company_id = company AND t.xid >= since AND t.topic IN ('DISPUTES', 'CLIENTS') AND t.client_id IS NOT NULL LIMIT most);
END $$;

-- The tail for a question that reads nothing else: it says itself whose it is, so that neither a transaction nor
-- settings need be sent before it. What it sets ends with the statement, which is a transaction of its own. Asked here
-- for the same reason as above: the way to the other function takes longer too.
CREATE FUNCTION ledger_tail_alone(company uuid, since xid8, most bigint)
RETURNS TABLE (xid bigint, item_id uuid, client_id uuid, currency text, family text, is_debit boolean, due_on date, posted_on date,
  invoiced_on date, effective_on date, delta bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
  SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE horizon bigint; is_empty boolean;
BEGIN
  PERFORM set_config('encours.company', company::text, true), set_config('encours.portfolio', '', true);
  -- One statement, and so one snapshot; the other function is asked in a later one, and answers its own horizon.
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    NOT EXISTS (SELECT FROM receivable_ledger l WHERE l.company_id = company AND l.xid >= since)
    AND NOT EXISTS (SELECT FROM changes t WHERE t.company_id = company AND t.xid >= since AND t.topic = 'DISPUTES')
  INTO horizon, is_empty;
  IF is_empty THEN
    xid := horizon;
    RETURN NEXT;
  ELSE
    RETURN QUERY SELECT * FROM ledger_tail(company, since, most);
  END IF;
END $$;
REVOKE ALL ON FUNCTION ledger_tail_alone(uuid, xid8, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_tail_alone(uuid, xid8, bigint) TO encours_app;

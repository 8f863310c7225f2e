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

-- What transactions from `since` on wrote of a company's ledger, as the caller's snapshot sees it, and the snapshot's
-- oldest transaction in a row of its own. As functions with a plan of their own: the planner would make a new one for
-- each question, since it expects a late transaction to have written little, and planning costs more than the probe.
-- That plan goes by indexes whatever it expects: the tail is short, or it is cut.
CREATE FUNCTION ledger_tail(company uuid, since xid8, most bigint)
RETURNS TABLE (xid bigint, item_id uuid, client_id uuid, currency text, family text, is_debit boolean, due_on date, posted_on date,
  invoiced_on date, effective_on date, delta bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
  SET enable_hashjoin = off SET enable_mergejoin = off SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, NULL::uuid, NULL::uuid, NULL::text, NULL::text, NULL::boolean,
    NULL::date, NULL::date, NULL::date, NULL::date, NULL::bigint
  UNION ALL (SELECT l.xid::text::bigint, l.item_id, i.client_id, i.currency::text, i.family::text, i.is_debit, i.due_on, i.posted_on,
      i.invoiced_on, l.effective_on, l.delta
    FROM receivable_ledger l JOIN items i ON i.company_id = l.company_id AND i.id = l.item_id
    WHERE l.company_id = company AND l.xid >= since LIMIT most)
  UNION ALL (SELECT t.xid::text::bigint, di.item_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM changes t JOIN dispute_items di ON di.company_id = t.company_id AND di.dispute_id = t.subject_id
    WHERE t.company_id = company AND t.xid >= since AND t.topic = 'DISPUTES' LIMIT most);
END $$;

-- The same of who was touched: claims, disputes, and the clients themselves.
CREATE FUNCTION clients_touched(company uuid, since xid8, most bigint) RETURNS TABLE (xid bigint, client_id uuid)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
  SET enable_hashjoin = off SET enable_mergejoin = off SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, NULL::uuid
  UNION ALL (SELECT l.xid::text::bigint, l.client_id FROM receivable_ledger l
    WHERE l.company_id = company AND l.xid >= since LIMIT most)
  UNION ALL (SELECT t.xid::text::bigint, t.client_id FROM changes t
    WHERE t.company_id = company AND t.xid >= since AND t.topic IN ('DISPUTES', 'CLIENTS') AND t.client_id IS NOT NULL LIMIT most);
END $$;
GRANT EXECUTE ON FUNCTION ledger_tail(uuid, xid8, bigint), clients_touched(uuid, xid8, bigint) TO encours_app;

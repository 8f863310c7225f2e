DROP FUNCTION ledger_tail_alone(uuid, xid8, bigint);
CREATE OR REPLACE FUNCTION ledger_tail(company uuid, since xid8, most bigint)
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

CREATE OR REPLACE FUNCTION clients_touched(company uuid, since xid8, most bigint) RETURNS TABLE (xid bigint, client_id uuid)
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

-- Whether what an answer of records shows is still so: it rests on all changes of topics `everywhere`, and of other topics
-- on those that concern the clients it has shown, or nobody. Answers what the statement sees itself, to be asked from next
-- time, or null when something has changed.
CREATE FUNCTION unchanged_alone(company uuid, since pg_snapshot, most bigint, everywhere text[], topics text[],
  shown uuid[]) RETURNS pg_snapshot
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
  SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM set_config('encours.company', company::text, true), set_config('encours.portfolio', '', true);
  RETURN (
    SELECT CASE WHEN count(*) <= most AND NOT coalesce(bool_or(f.counts AND NOT pg_visible_in_snapshot(f.xid, since)), false)
      THEN pg_current_snapshot() END
    FROM (SELECT t.xid, t.topic = ANY(everywhere) OR t.topic = ANY(topics)
            AND (t.client_id IS NULL OR t.client_id IN (SELECT unnest(shown))) AS counts
          FROM changes t
          WHERE t.company_id = company AND t.xid >= pg_snapshot_xmin(since) ORDER BY t.xid, t.seq LIMIT most + 1) f);
END $$;
REVOKE ALL ON FUNCTION unchanged_alone(uuid, pg_snapshot, bigint, text[], text[], uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION unchanged_alone(uuid, pg_snapshot, bigint, text[], text[], uuid[]) TO encours_app;
-- The former binary goes on asking `is_unchanged_alone`.

-- A receipt whose payer became known later is that client's.
-- lock-rule index-concurrently: few receipts are identified later, and finding them takes no time
CREATE INDEX payment_events_by_client ON payment_events (company_id, client_id, payment_id) WHERE kind = 'IDENTIFIED';
DROP POLICY portfolio ON payments;
CREATE POLICY portfolio ON payments AS RESTRICTIVE USING (
  (SELECT coalesce(current_setting('encours.portfolio', true), '') = '')
  OR client_id IN (SELECT c.id FROM clients c)
  OR client_id IS NULL AND id IN (SELECT e.payment_id FROM payment_events e
    JOIN clients c ON c.company_id = e.company_id AND c.id = e.client_id WHERE e.kind = 'IDENTIFIED'));

-- No matching changes while it holds; should one all the same, by hand, the feed tells of it.
CREATE OR REPLACE FUNCTION changes_of_allocations() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO changes (company_id, topic, kind, subject_id, client_id)
  SELECT n.company_id, 'MATCHINGS', CASE WHEN TG_OP = 'INSERT' THEN 'ALLOCATION_MATCHED' WHEN n.ended_on IS NOT NULL THEN 'ALLOCATION_UNMATCHED'
    ELSE 'ALLOCATION_CHANGED' END, n.id, n.client_id FROM n;
  RETURN NULL;
END $$;

-- Nothing is posted on a day that is closed while it waits (R2.2). Whoever posts shares a lock of the company's closings until
-- its transaction ends, and then looks at the last one: whoever closes waits for those that have posted, and those that come
-- later find it closed, and are done again and refused by what is so then.
CREATE FUNCTION hold_postings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('closings ' || NEW.company_id, 0));
  -- The last closing counts: in the order in which they took the lock.
  NEW.recorded_at := clock_timestamp();
  RETURN NEW;
END $$;
CREATE TRIGGER hold_postings BEFORE INSERT ON period_closings FOR EACH ROW EXECUTE FUNCTION hold_postings();

CREATE OR REPLACE FUNCTION check_entry_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad uuid; entry record; previous bytea; company uuid; year int; reached bigint; sealed bigint;
  companies uuid[] := '{}'; years int[] := '{}'; numbers bigint[] := '{}'; ids uuid[] := '{}'; seals bytea[] := '{}';
BEGIN
  SELECT a.entry_id INTO bad FROM added a GROUP BY a.company_id, a.entry_id, a.currency
  HAVING sum(a.debit) <> sum(a.credit) OR sum(a.base_debit) <> sum(a.base_credit) LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % does not balance', bad USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_balances';
  END IF;
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('closings ' || a.company_id, 0)) FROM (SELECT DISTINCT company_id FROM added) a;
  -- Balances that are carried forward open a year whose first periods may be closed.
  IF EXISTS (SELECT FROM (SELECT a.company_id, min(a.posted_on) AS first_on FROM added a WHERE NOT a.carried GROUP BY a.company_id) a
      CROSS JOIN LATERAL (SELECT p.closed_through FROM period_closings p WHERE p.company_id = a.company_id
        ORDER BY p.recorded_at DESC, p.id DESC LIMIT 1) c
      WHERE a.first_on <= c.closed_through) THEN
    RAISE EXCEPTION 'the books were closed meanwhile' USING ERRCODE = 'serialization_failure';
  END IF;
  FOR entry IN
    SELECT a.company_id, a.entry_id AS id, e.fiscal_year, e.number, a.count, e.head || '[' || a.lines || ']' AS content
    FROM (SELECT l.company_id, l.entry_id, count(*),
        string_agg(json_build_array(l.line, l.account, l.client_id, l.debit, l.credit, l.currency, l.base_debit, l.base_credit, l.carried)::text,
          ', ' ORDER BY l.line) AS lines
      FROM added l GROUP BY l.company_id, l.entry_id) a
    CROSS JOIN LATERAL (SELECT e.fiscal_year, e.number,
        json_build_array(e.id, e.journal, e.fiscal_year, e.number, to_char(e.posted_on, 'YYYYMMDD'), to_char(e.occurred_on, 'YYYYMMDD'),
          e.reference, e.label, e.source_kind, e.source_id, e.reversal_of, (extract(epoch FROM e.recorded_at) * 1000000)::bigint,
          e.recorded_by)::text AS head
      FROM journal_entries e WHERE e.company_id = a.company_id AND e.id = a.entry_id OFFSET 0) e
    ORDER BY a.company_id, e.fiscal_year, e.number
  LOOP
    IF entry.count < 2 THEN
      RAISE EXCEPTION 'journal entry % must be written whole, with two lines or more', entry.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_whole';
    END IF;
    IF (company, year, reached + 1) IS DISTINCT FROM (entry.company_id, entry.fiscal_year, entry.number) THEN
      SELECT s.seal INTO previous FROM journal_seals s
      WHERE s.company_id = entry.company_id AND s.fiscal_year = entry.fiscal_year AND s.number = entry.number - 1;
      IF NOT FOUND THEN
        -- The first of its year; or a number is missing, which the checks of the books tell.
        SELECT s.seal INTO previous FROM journal_seals s
        WHERE s.company_id = entry.company_id AND s.fiscal_year = entry.fiscal_year AND s.number < entry.number
        ORDER BY s.number DESC LIMIT 1;
        previous := coalesce(previous, chain_origin(entry.company_id, entry.fiscal_year));
      END IF;
    END IF;
    company := entry.company_id;
    year := entry.fiscal_year;
    reached := entry.number;
    previous := sha256(previous || convert_to(entry.content, 'UTF8'));
    companies := companies || company;
    years := years || year;
    numbers := numbers || reached;
    ids := ids || entry.id;
    seals := seals || previous;
  END LOOP;
  INSERT INTO journal_seals (company_id, fiscal_year, number, entry_id, seal) SELECT * FROM unnest(companies, years, numbers, ids, seals)
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS sealed = ROW_COUNT;
  -- An entry that has its seal already was written before.
  IF sealed <> cardinality(ids) THEN
    RAISE EXCEPTION 'journal entries % to % must each be written whole', ids[1], ids[cardinality(ids)]
      USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_whole';
  END IF;
  RETURN NULL;
END $$;

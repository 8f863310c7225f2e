-- Entries are chained where their lines come in, by the trigger that checks them: one way to the database less while
-- the number's counter is locked, and no entry without its seal. What a seal covers is what `entry_content` says, word
-- for word. A connection keeps the plans of this function, and may have made them while the tables were empty: so each
-- entry is fetched by its key (OFFSET 0 keeps it from becoming a join), and never by reading the table.
CREATE OR REPLACE FUNCTION check_entry_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad uuid; entry record; previous bytea; company uuid; year int; reached bigint;
  companies uuid[] := '{}'; years int[] := '{}'; numbers bigint[] := '{}'; ids uuid[] := '{}'; seals bytea[] := '{}';
BEGIN
  SELECT a.entry_id INTO bad FROM added a GROUP BY a.company_id, a.entry_id, a.currency
  HAVING sum(a.debit) <> sum(a.credit) OR sum(a.base_debit) <> sum(a.base_credit) LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % does not balance', bad USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_balances';
  END IF;
  FOR entry IN
    SELECT a.company_id, a.entry_id AS id, e.fiscal_year, e.number, a.count, e.head || a.lines::text AS content,
      (SELECT count(*) FROM journal_lines l WHERE l.company_id = a.company_id AND l.entry_id = a.entry_id) AS stored
    FROM (SELECT l.company_id, l.entry_id, count(*),
        jsonb_agg(jsonb_build_array(l.line, l.account, l.client_id, l.debit, l.credit, l.currency, l.base_debit, l.base_credit, l.carried)
          ORDER BY l.line) AS lines
      FROM added l GROUP BY l.company_id, l.entry_id) a
    CROSS JOIN LATERAL (SELECT e.fiscal_year, e.number,
        jsonb_build_array(e.id, e.journal, e.fiscal_year, e.number, to_char(e.posted_on, 'YYYYMMDD'), to_char(e.occurred_on, 'YYYYMMDD'),
          e.reference, e.label, e.source_kind, e.source_id, e.reversal_of, (extract(epoch FROM e.recorded_at) * 1000000)::bigint,
          e.recorded_by)::text AS head
      FROM journal_entries e WHERE e.company_id = a.company_id AND e.id = a.entry_id OFFSET 0) e
    ORDER BY a.company_id, e.fiscal_year, e.number
  LOOP
    IF entry.count < 2 OR entry.count <> entry.stored THEN
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
  INSERT INTO journal_seals (company_id, fiscal_year, number, entry_id, seal) SELECT * FROM unnest(companies, years, numbers, ids, seals);
  RETURN NULL;
END $$;

-- The former binary seals what it posted itself: that is done by now, but for entries of transactions that were under
-- way when this came.
CREATE OR REPLACE FUNCTION seal_entries(of_company uuid, of_year int, first bigint, last bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE previous bytea; entry uuid;
BEGIN
  IF EXISTS (SELECT FROM journal_seals s WHERE s.company_id = of_company AND s.fiscal_year = of_year AND s.number = last) THEN
    RETURN;
  END IF;
  FOR rank IN first..last LOOP
    SELECT s.seal INTO previous FROM journal_seals s
    WHERE s.company_id = of_company AND s.fiscal_year = of_year AND s.number = rank - 1;
    SELECT e.id INTO entry FROM journal_entries e
    WHERE e.company_id = of_company AND e.fiscal_year = of_year AND e.number = rank;
    CONTINUE WHEN entry IS NULL;
    INSERT INTO journal_seals (company_id, fiscal_year, number, entry_id, seal)
      VALUES (of_company, of_year, rank, entry,
        sha256(coalesce(previous, chain_origin(of_company, of_year)) || convert_to(entry_content(of_company, entry), 'UTF8')))
      ON CONFLICT DO NOTHING;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION check_entry_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad uuid;
BEGIN
  SELECT entry_id INTO bad FROM (
    SELECT entry_id, currency, sum(debit) d, sum(credit) c, sum(base_debit) bd, sum(base_credit) bc
    FROM added GROUP BY entry_id, currency) t
  WHERE d <> c OR bd <> bc LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % does not balance', bad USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_balances';
  END IF;
  SELECT a.entry_id INTO bad FROM added a GROUP BY a.company_id, a.entry_id
  HAVING count(*) < 2 OR count(*) <> (SELECT count(*) FROM journal_lines l WHERE l.company_id = a.company_id AND l.entry_id = a.entry_id)
  LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % must be written whole, with two lines or more', bad USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_whole';
  END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION seal_entries(of_company uuid, of_year int, first bigint, last bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE previous bytea; entry record; ids uuid[] := '{}'; numbers bigint[] := '{}'; seals bytea[] := '{}';
BEGIN
  SELECT s.seal INTO previous FROM journal_seals s WHERE s.company_id = of_company AND s.fiscal_year = of_year AND s.number = first - 1;
  previous := coalesce(previous, chain_origin(of_company, of_year));
  FOR entry IN SELECT e.id, e.number,
      jsonb_build_array(e.id, e.journal, e.fiscal_year, e.number, to_char(e.posted_on, 'YYYYMMDD'), to_char(e.occurred_on, 'YYYYMMDD'),
        e.reference, e.label, e.source_kind, e.source_id, e.reversal_of, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.recorded_by)::text
      || (SELECT jsonb_agg(jsonb_build_array(l.line, l.account, l.client_id, l.debit, l.credit, l.currency, l.base_debit, l.base_credit, l.carried)
            ORDER BY l.line)::text FROM journal_lines l WHERE l.company_id = of_company AND l.entry_id = e.id) AS content
    FROM journal_entries e
    WHERE e.company_id = of_company AND e.fiscal_year = of_year AND e.number BETWEEN first AND last ORDER BY e.number
  LOOP
    previous := sha256(previous || convert_to(entry.content, 'UTF8'));
    ids := ids || entry.id;
    numbers := numbers || entry.number;
    seals := seals || previous;
  END LOOP;
  INSERT INTO journal_seals (company_id, fiscal_year, number, entry_id, seal)
    SELECT of_company, of_year, t.number, t.id, t.seal FROM unnest(numbers, ids, seals) t(number, id, seal);
END $$;

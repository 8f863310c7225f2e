CREATE OR REPLACE FUNCTION seal_entries(of_company uuid, of_year int, first bigint, last bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE previous bytea; entry record;
BEGIN
  SELECT s.seal INTO previous FROM journal_seals s WHERE s.company_id = of_company AND s.fiscal_year = of_year AND s.number = first - 1;
  previous := coalesce(previous, chain_origin(of_company, of_year));
  FOR entry IN SELECT e.id, e.number FROM journal_entries e
    WHERE e.company_id = of_company AND e.fiscal_year = of_year AND e.number BETWEEN first AND last ORDER BY e.number
  LOOP
    previous := sha256(previous || convert_to(entry_content(of_company, entry.id), 'UTF8'));
    INSERT INTO journal_seals (company_id, fiscal_year, number, entry_id, seal)
      VALUES (of_company, of_year, entry.number, entry.id, previous);
  END LOOP;
END $$;

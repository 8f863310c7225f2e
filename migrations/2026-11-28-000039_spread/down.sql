-- The functions stay: they write what those before them wrote.
DO $$
DECLARE t text;
BEGIN
  FOR t IN SELECT p.tablename FROM pg_policies p WHERE p.schemaname = current_schema() AND p.policyname = 'company' ORDER BY 1 LOOP
    EXECUTE format('ALTER POLICY company ON %I USING (company_id = (SELECT nullif(current_setting(''encours.company'', true), '''')::uuid))', t);
  END LOOP;
END $$;
DROP FUNCTION plan_once();

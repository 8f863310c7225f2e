CREATE OR REPLACE FUNCTION changes_of_allocations() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO changes (company_id, topic, kind, subject_id, client_id)
  SELECT n.company_id, 'MATCHINGS', CASE WHEN TG_OP = 'INSERT' THEN 'ALLOCATION_MATCHED' ELSE 'ALLOCATION_UNMATCHED' END, n.id, n.client_id
  FROM n WHERE TG_OP = 'INSERT' OR n.ended_on IS NOT NULL;
  RETURN NULL;
END $$;
DROP POLICY portfolio ON payments;
CREATE POLICY portfolio ON payments AS RESTRICTIVE USING (
  (SELECT coalesce(current_setting('encours.portfolio', true), '') = '')
  OR client_id IN (SELECT c.id FROM clients c));
DROP INDEX payment_events_by_client;
DROP FUNCTION unchanged_alone(uuid, pg_snapshot, bigint, text[], text[], uuid[]);

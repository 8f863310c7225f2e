DROP POLICY portfolio ON payments;
CREATE POLICY portfolio ON payments AS RESTRICTIVE USING (
  (SELECT coalesce(current_setting('encours.portfolio', true), '') = '')
  OR client_id IN (SELECT c.id FROM clients c));
DROP INDEX payment_events_by_client;
DROP FUNCTION unchanged_alone(uuid, pg_snapshot, bigint, text[], text[], uuid[]);

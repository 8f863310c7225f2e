-- What the operator's gauges show: counts over all companies and nothing else. The serving role sees one company at a
-- time, so it asks by this function. Each count has a partial index.
CREATE INDEX outbox_failed ON outbox (company_id, id) WHERE status IN ('DEAD', 'BOUNCED');
CREATE FUNCTION operator_gauges() RETURNS TABLE (name text, value bigint) LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT 'companies', count(*) FROM companies
  UNION ALL SELECT 'mails_queued', count(*) FROM outbox WHERE status = 'QUEUED'
  UNION ALL SELECT 'mails_failed', count(*) FROM outbox WHERE status IN ('DEAD', 'BOUNCED')
  UNION ALL SELECT 'mails_oldest_seconds', coalesce(extract(epoch FROM now() - min(recorded_at)), 0)::bigint FROM outbox WHERE status = 'QUEUED'
  UNION ALL SELECT 'tasks_open', count(*) FROM tasks WHERE done_at IS NULL
  UNION ALL SELECT 'webhook_deliveries_pending', count(*) FROM webhook_deliveries WHERE status = 'PENDING'
$$;
REVOKE ALL ON FUNCTION operator_gauges() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION operator_gauges() TO encours_app;

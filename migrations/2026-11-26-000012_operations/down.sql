DROP FUNCTION operator_gauges();
DROP INDEX outbox_failed;

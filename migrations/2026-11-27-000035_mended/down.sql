ALTER TABLE dunning_runs DROP COLUMN approved;
CREATE OR REPLACE FUNCTION audit_masked(key text, value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN value = 'null' THEN value
    WHEN key ~ '(^|_)(hash|secret|password|token)(_|$)' THEN '"(hidden)"'
    WHEN key ~ '(^|_)iban$' THEN to_jsonb(left(value #>> '{}', 4) || '…' || right(value #>> '{}', 4))
    ELSE value END
$$;

-- A bank account is told by its ends wherever it stands: the input of a request for approval holds one inside.
CREATE OR REPLACE FUNCTION audit_masked(key text, value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CASE
    WHEN value = 'null' THEN value
    WHEN key ~ '(^|_)(hash|secret|password|token)(_|$)' THEN '"(hidden)"'
    WHEN jsonb_typeof(value) = 'object' THEN
      (SELECT coalesce(jsonb_object_agg(e.key, audit_masked(e.key, e.value)), '{}') FROM jsonb_each(value) e)
    WHEN jsonb_typeof(value) = 'array' THEN
      (SELECT coalesce(jsonb_agg(audit_masked(key, e.value) ORDER BY e.place), '[]') FROM jsonb_array_elements(value) WITH ORDINALITY e(value, place))
    WHEN key ~ '(^|_)iban$' THEN to_jsonb(left(value #>> '{}', 4) || '…' || right(value #>> '{}', 4))
    ELSE value END;
END $$;

-- Whether who validated a run may approve what is above a threshold: what has grown above it since is sent only then.
ALTER TABLE dunning_runs ADD COLUMN approved boolean NOT NULL DEFAULT false;
GRANT UPDATE (approved) ON dunning_runs TO encours_app;

-- No item changed before it was recorded: a matching that began before could write so until now.
UPDATE items SET changed_at = recorded_at WHERE changed_at < recorded_at;

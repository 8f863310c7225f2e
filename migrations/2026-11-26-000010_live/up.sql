-- The change feed, and webhooks that pass it on.

-- One row per change of a record that others may follow, written by triggers in the transaction of the change.
--
-- A sequence is handed out before its transaction commits, so a reader that goes by `seq` alone skips what
-- commits late. Readers go by (xid, seq) and stop before the oldest transaction that is still running:
-- nothing can appear behind them. A long transaction delays the feed; it never makes it lose anything.
CREATE TABLE changes (
  company_id uuid NOT NULL,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  seq bigint GENERATED ALWAYS AS IDENTITY,
  topic text NOT NULL CHECK (topic IN ('DOCUMENTS', 'PAYMENTS', 'MATCHINGS', 'DISPUTES', 'DUNNING', 'WORKLIST', 'CLIENTS')),
  -- The record's name and what happened to it: INVOICE_ISSUED, CLIENT_CHANGED.
  kind text NOT NULL,
  subject_id uuid NOT NULL,
  -- Null when the change concerns no client, or an unknown one.
  client_id uuid,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, xid, seq)
);

ALTER TABLE changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE changes FORCE ROW LEVEL SECURITY;
CREATE POLICY company ON changes USING (company_id = (SELECT nullif(current_setting('encours.company', true), '')::uuid));
-- For reading only: what a sales person writes may concern no client.
CREATE POLICY portfolio ON changes AS RESTRICTIVE FOR SELECT USING (
  (SELECT coalesce(current_setting('encours.portfolio', true), '') = '')
  OR client_id IN (SELECT c.id FROM clients c));
CREATE POLICY migrator ON changes TO CURRENT_USER USING (true) WITH CHECK (true);
-- Only the triggers write, as the owner.
GRANT SELECT ON changes TO encours_app;

-- Puts a table on the feed: `SELECT watch('dunning_runs', 'DUNNING', 'DUNNING_RUN')`.
--
-- The rest are SQL expressions over a row `n` of the table. `added` and `changed` give the kind of an inserted
-- and of an updated row, null for one that is not told; without them rows are told as <record>_RECORDED and
-- <record>_CHANGED. `subject` is the record's id, `client` the client it concerns: without one, the column
-- client_id if there is one.
--
-- Each statement on the table adds its rows by one INSERT, whatever their number.
CREATE FUNCTION watch(watched text, topic text, record text, added text DEFAULT NULL, changed text DEFAULT NULL,
  subject text DEFAULT 'n.id', client text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $watch$
DECLARE has_client boolean;
BEGIN
  SELECT EXISTS (SELECT 1 FROM information_schema.columns c
                 WHERE c.table_schema = current_schema() AND c.table_name = watched AND c.column_name = 'client_id') INTO has_client;
  EXECUTE format($f$
    CREATE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        INSERT INTO changes (company_id, topic, kind, subject_id, client_id)
        SELECT n.company_id, %2$L, k.kind, %5$s, %6$s FROM n CROSS JOIN LATERAL (SELECT %3$s AS kind) k WHERE k.kind IS NOT NULL;
      ELSE
        INSERT INTO changes (company_id, topic, kind, subject_id, client_id)
        SELECT n.company_id, %2$L, k.kind, %5$s, %6$s FROM n CROSS JOIN LATERAL (SELECT %4$s AS kind) k WHERE k.kind IS NOT NULL;
      END IF;
      RETURN NULL;
    END $body$ $f$,
    'changes_of_' || watched, topic, coalesce(added, quote_literal(record || '_RECORDED')),
    coalesce(changed, quote_literal(record || '_CHANGED')), subject,
    coalesce(client, CASE WHEN has_client THEN 'n.client_id' ELSE 'NULL::uuid' END));
  EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'changes_of_' || watched);
  EXECUTE format('CREATE TRIGGER changes_added AFTER INSERT ON %I REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION %I()',
    watched, 'changes_of_' || watched);
  EXECUTE format('CREATE TRIGGER changes_changed AFTER UPDATE ON %I REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION %I()',
    watched, 'changes_of_' || watched);
END $watch$;
REVOKE ALL ON FUNCTION watch(text, text, text, text, text, text, text) FROM PUBLIC;

SELECT watch('documents', 'DOCUMENTS', 'DOCUMENT', added => $$n.kind || '_ISSUED'$$, changed => $$n.kind || '_CHANGED'$$);
SELECT watch('deductions', 'DOCUMENTS', 'DEDUCTION');
SELECT watch('payments', 'PAYMENTS', 'PAYMENT');
SELECT watch('payment_events', 'PAYMENTS', 'PAYMENT', added => $$'PAYMENT_' || n.kind$$, subject => 'n.payment_id',
  client => $$coalesce(n.client_id, (SELECT p.client_id FROM payments p WHERE p.company_id = n.company_id AND p.id = n.payment_id),
    (SELECT i.client_id FROM payment_events i WHERE i.company_id = n.company_id AND i.payment_id = n.payment_id AND i.kind = 'IDENTIFIED'))$$);
SELECT watch('allocations', 'MATCHINGS', 'ALLOCATION', added => $$'ALLOCATION_MATCHED'$$,
  changed => $$CASE WHEN n.ended_on IS NOT NULL THEN 'ALLOCATION_UNMATCHED' END$$);
SELECT watch('disputes', 'DISPUTES', 'DISPUTE', added => $$'DISPUTE_OPENED'$$);
-- A state of a dispute is told by the dispute itself, in the same transaction.
SELECT watch('dispute_events', 'DISPUTES', 'DISPUTE', added => $$CASE n.kind WHEN 'NOTE' THEN 'DISPUTE_NOTED' END$$,
  subject => 'n.dispute_id', client => $$(SELECT d.client_id FROM disputes d WHERE d.company_id = n.company_id AND d.id = n.dispute_id)$$);
SELECT watch('dunning_actions', 'DUNNING', 'DUNNING_ACTION');
SELECT watch('promises', 'DUNNING', 'PROMISE', changed => $$CASE WHEN n.cancelled_on IS NULL THEN 'PROMISE_CHANGED' ELSE 'PROMISE_CANCELLED' END$$);
SELECT watch('dunning_runs', 'DUNNING', 'DUNNING_RUN', added => $$'DUNNING_RUN_PROPOSED'$$, changed => $$'DUNNING_RUN_' || n.status$$);
SELECT watch('dunning_proofs', 'DUNNING', 'DUNNING_ACTION', added => $$'DUNNING_ACTION_' || n.kind$$, subject => 'n.action_id');
SELECT watch('outbox', 'DUNNING', 'MAIL', added => $$'MAIL_QUEUED'$$, changed => $$CASE WHEN n.status <> 'QUEUED' THEN 'MAIL_' || n.status END$$);
SELECT watch('instalment_plans', 'DUNNING', 'PAYMENT_PLAN', changed => $$'PAYMENT_PLAN_CANCELLED'$$);
SELECT watch('litigation_cases', 'DUNNING', 'LITIGATION_CASE', added => $$'LITIGATION_CASE_OPENED'$$);
SELECT watch('collection_notes', 'WORKLIST', 'COLLECTION_NOTE');
SELECT watch('clients', 'CLIENTS', 'CLIENT', added => $$'CLIENT_OPENED'$$, client => 'n.id');
SELECT watch('tasks', 'WORKLIST', 'TASK', added => $$'TASK_OPENED'$$,
  changed => $$CASE WHEN n.done_at IS NULL THEN 'TASK_CHANGED' ELSE 'TASK_DONE' END$$);

-- The companies, for background jobs: the serving role sees none outside their walls.
CREATE FUNCTION company_ids() RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
  'SELECT company_id FROM companies ORDER BY company_id';
REVOKE ALL ON FUNCTION company_ids() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION company_ids() TO encours_app;

-- Addresses that are told of changes.
CREATE TABLE webhooks (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  url text NOT NULL CHECK (url ~ '^https?://'),
  -- Signs what is sent; read by the sender, never shown again.
  secret text NOT NULL CHECK (secret ~ '^whsec_'),
  -- Empty for all.
  topics text[] NOT NULL,
  active boolean NOT NULL DEFAULT true,
  -- What was taken from the feed so far.
  position_xid xid8 NOT NULL,
  position_seq bigint NOT NULL,
  -- Failures in a row, and until when nothing is sent because of them.
  failures int NOT NULL DEFAULT 0,
  paused_until timestamptz NOT NULL DEFAULT now(),
  -- While a server sends, no other does; it ends by itself when that server dies.
  claimed_until timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  deleted_at timestamptz,
  PRIMARY KEY (company_id, id),
  CHECK (deleted_at IS NULL OR NOT active)
);

-- What is to be sent, and what became of it.
CREATE TABLE webhook_deliveries (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  webhook_id uuid NOT NULL,
  -- The order of sending.
  ordinal bigint GENERATED ALWAYS AS IDENTITY,
  -- The change; a test has none.
  xid xid8,
  seq bigint,
  topic text,
  kind text NOT NULL,
  subject_id uuid,
  client_id uuid,
  recorded_at timestamptz NOT NULL,
  status text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED', 'DEAD')),
  attempts int NOT NULL DEFAULT 0,
  next_at timestamptz NOT NULL DEFAULT now(),
  last_status int,
  last_error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, webhook_id) REFERENCES webhooks,
  CHECK ((xid IS NULL) = (seq IS NULL)),
  CHECK ((status IN ('DELIVERED', 'DEAD')) = (finished_at IS NOT NULL))
);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (company_id, webhook_id, ordinal) WHERE finished_at IS NULL;
CREATE INDEX webhook_deliveries_by_day ON webhook_deliveries (company_id, created_at, id);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['webhooks', 'webhook_deliveries']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY company ON %I USING (company_id = (SELECT nullif(current_setting(''encours.company'', true), '''')::uuid))', t);
    -- Nobody with a portfolio has anything to do with them.
    EXECUTE format('CREATE POLICY portfolio ON %I AS RESTRICTIVE USING ((SELECT coalesce(current_setting(''encours.portfolio'', true), '''') = ''''))', t);
    EXECUTE format('CREATE POLICY migrator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT ON webhooks, webhook_deliveries TO encours_app;
GRANT UPDATE (url, topics, active, position_xid, position_seq, failures, paused_until, claimed_until, deleted_at) ON webhooks TO encours_app;
GRANT UPDATE (status, attempts, next_at, last_status, last_error, finished_at) ON webhook_deliveries TO encours_app;
-- What was finished long ago.
GRANT DELETE ON webhook_deliveries TO encours_app;

-- A dump that is loaded into another server brings transaction numbers that this server has not reached: nobody
-- would see those changes, nor new ones behind them. They become one transaction of long ago, in the order of
-- `seq`; cursors from before are refused then. The owner calls this when the server starts.
CREATE FUNCTION rebase_changes() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM companies c WHERE EXISTS (SELECT 1 FROM changes t
                 WHERE t.company_id = c.company_id AND t.xid >= pg_snapshot_xmax(pg_current_snapshot())))
    AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.position_xid > pg_snapshot_xmax(pg_current_snapshot())) THEN
    RETURN false;
  END IF;
  -- Rather told twice than not at all.
  UPDATE webhooks w SET position_xid = '1', position_seq = coalesce(
    (SELECT min(t.seq) - 1 FROM changes t WHERE t.company_id = w.company_id AND (t.xid, t.seq) > (w.position_xid, w.position_seq)),
    (SELECT max(t.seq) FROM changes t WHERE t.company_id = w.company_id), 0);
  UPDATE changes SET xid = '1';
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION rebase_changes() FROM PUBLIC;

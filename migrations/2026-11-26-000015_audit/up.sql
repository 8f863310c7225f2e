-- The audit trail: who did what, when, from where, and what it changed; chained, and with personal data that can be
-- erased without breaking the chain.
--
-- Capture is in the database, by triggers on every table of a company, so that no write can be forgotten. What it costs
-- decides what is kept of an insert. A fact (a document, a payment) is insert-only in the rights of the serving role: the
-- row is its own image, and the trail refers to it. Rows that are written with a fact and belong to it (its lines, its
-- entry, its items) are reached through it, and are not told one by one. Master data, settings and rights keep a whole
-- image. Every update and every deletion of any of them, by whomever, keeps the columns that changed, before and after.
--
-- Writers take no lock for the chain: entries are sealed behind them, in the order (transaction, number), as far as no
-- transaction can come between any more. The change feed goes by the same order.

CREATE TABLE audit_entries (
  company_id uuid NOT NULL,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  seq bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- CREATED, CHANGED, DELETED: of a row. Else an event: EXPORTED, LOGGED_IN, ...
  action text NOT NULL,
  record_type text NOT NULL,
  -- The row's key without the company; empty when it concerns no single record.
  record_id text NOT NULL,
  -- The client that it concerns.
  client_id uuid,
  actor_kind text NOT NULL CHECK (actor_kind IN ('PERSON', 'SERVICE_ACCOUNT', 'SCRIPT', 'SERVER', 'OPERATOR')),
  actor_id uuid,
  role text,
  operation text,
  request_id text,
  -- Who, in words, and from where: personal data of people, erased apart from the rest.
  actor text NOT NULL,
  address text,
  who_salt uuid DEFAULT gen_random_uuid(),
  -- The columns that changed; what else an event says.
  before jsonb,
  after jsonb,
  details jsonb,
  what_salt uuid DEFAULT gen_random_uuid(),
  -- The erasure that took personal data out of this entry.
  erasure_id uuid,
  PRIMARY KEY (company_id, xid, seq)
);
CREATE INDEX audit_entries_by_time ON audit_entries (company_id, at, seq);
CREATE INDEX audit_entries_by_record ON audit_entries (company_id, record_id, at, seq);
CREATE INDEX audit_entries_by_actor ON audit_entries (company_id, actor, at, seq);
CREATE INDEX audit_entries_by_client ON audit_entries (company_id, client_id, at, seq) WHERE client_id IS NOT NULL;

-- One seal per entry. The digests stay when what they were made of is erased, and nobody can try values against them:
-- the salt is erased with it.
CREATE TABLE audit_seals (
  company_id uuid NOT NULL,
  ordinal bigint NOT NULL CHECK (ordinal > 0),
  xid xid8 NOT NULL,
  seq bigint NOT NULL,
  who bytea NOT NULL CHECK (length(who) = 32),
  what bytea NOT NULL CHECK (length(what) = 32),
  seal bytea NOT NULL CHECK (length(seal) = 32),
  PRIMARY KEY (company_id, ordinal),
  UNIQUE (company_id, xid, seq)
);
-- How far each company's chain has come. Only whoever seals locks the row.
CREATE TABLE audit_chains (
  company_id uuid PRIMARY KEY,
  ordinal bigint NOT NULL DEFAULT 0,
  xid xid8 NOT NULL DEFAULT '0',
  seq bigint NOT NULL DEFAULT 0,
  seal bytea
);

-- What is audited, and how; what is not, and why.
CREATE TABLE audited (
  table_name text PRIMARY KEY,
  record_type text NOT NULL,
  mode text NOT NULL CHECK (mode IN ('RECORD', 'FACT', 'PART', 'NONE')),
  -- Columns whose change is told by the row that causes it ...
  derived text[] NOT NULL DEFAULT '{}',
  -- ... and those that an update is compared in, when there are such.
  compared text[],
  reason text NOT NULL DEFAULT '' CHECK (mode IN ('RECORD', 'FACT') OR reason <> '')
);

-- ---------------------------------------------------------------- personal data

-- What was erased, on whose demand and why, with what had to be kept.
CREATE TABLE erasures (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  subject_type text NOT NULL CHECK (subject_type IN ('CONTACT', 'CLIENT', 'MEMBER', 'RETENTION')),
  subject_id uuid,
  reason text NOT NULL CHECK (reason <> ''),
  report jsonb NOT NULL DEFAULT '{}',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id)
);
CREATE INDEX erasures_by_subject ON erasures (company_id, subject_id);

-- The identity of an erased client, for the books alone, until the law lets go of it (archivage intermédiaire).
CREATE TABLE legal_archive (
  company_id uuid NOT NULL,
  client_id uuid NOT NULL,
  name text NOT NULL,
  address text,
  kept_until date NOT NULL,
  erasure_id uuid NOT NULL,
  PRIMARY KEY (company_id, client_id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, erasure_id) REFERENCES erasures
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['audit_entries', 'audit_seals', 'audit_chains', 'erasures', 'legal_archive']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY company ON %I USING (company_id = (SELECT nullif(current_setting(''encours.company'', true), '''')::uuid))', t);
    -- Nobody with a portfolio reads them; what they do is told all the same.
    EXECUTE format('CREATE POLICY portfolio ON %I AS RESTRICTIVE FOR SELECT USING ((SELECT coalesce(current_setting(''encours.portfolio'', true), '''') = ''''))', t);
    EXECUTE format('CREATE POLICY migrator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- Append-only: the serving role writes none of them. Entries come from triggers, seals and erasures from the functions below.
GRANT SELECT ON audit_entries, audit_seals, audit_chains, audited, erasures, legal_archive TO encours_app;
GRANT INSERT ON erasures TO encours_app;
GRANT UPDATE (report) ON erasures TO encours_app;

-- ---------------------------------------------------------------- capture

-- Secrets never, bank accounts by their ends.
CREATE FUNCTION audit_masked(key text, value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN value = 'null' THEN value
    WHEN key ~ '(^|_)(hash|secret|password|token)(_|$)' THEN '"(hidden)"'
    WHEN key ~ '(^|_)iban$' THEN to_jsonb(left(value #>> '{}', 4) || '…' || right(value #>> '{}', 4))
    ELSE value END
$$;
CREATE FUNCTION audit_image(image jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  -- Who made a row is who made the entry.
  SELECT jsonb_object_agg(e.key, audit_masked(e.key, e.value)) FROM jsonb_each(image) e WHERE e.key !~ '_by$'
$$;

-- Tells the updates of a table. Rows are compared before anything is called: the updates of derived columns, by far the most,
-- cost next to nothing.
CREATE FUNCTION audit_updates(audited_table text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE a audited; columns text[]; changed text := 'OLD.* IS DISTINCT FROM NEW.*';
BEGIN
  SELECT * INTO a FROM audited x WHERE x.table_name = audited_table;
  IF cardinality(a.derived) > 0 THEN
    SELECT array_agg(k.attname::text ORDER BY k.attnum) INTO columns FROM pg_attribute k
    WHERE k.attrelid = audited_table::regclass AND k.attnum > 0 AND NOT k.attisdropped AND k.attname <> ALL (a.derived);
    IF columns IS NOT DISTINCT FROM a.compared THEN
      RETURN;
    END IF;
    SELECT format('ROW(%s) IS DISTINCT FROM ROW(%s)', string_agg(format('OLD.%I', c), ', '), string_agg(format('NEW.%I', c), ', ')) INTO changed
    FROM unnest(columns) c;
    UPDATE audited x SET compared = columns WHERE x.table_name = audited_table;
    EXECUTE format('DROP TRIGGER IF EXISTS audit_update ON %I', audited_table);
  END IF;
  EXECUTE format('CREATE TRIGGER audit_update AFTER UPDATE ON %I FOR EACH ROW WHEN (%s) EXECUTE FUNCTION %I()',
    audited_table, changed, 'audit_of_' || audited_table);
END $$;
REVOKE ALL ON FUNCTION audit_updates(text) FROM PUBLIC;

-- Puts a table on the trail: `SELECT audit('promises', 'PROMISE', 'FACT')`.
--
-- RECORD keeps a whole image of what is inserted; FACT only that it was, the row being insert-only; PART nothing, since the
-- fact that it belongs to is told. NONE is not audited. All but NONE tell updates and deletions, in the columns that are
-- not `derived`.
CREATE FUNCTION audit(audited_table text, record text, how text, derived_columns text[] DEFAULT '{}', why text DEFAULT '') RETURNS void
LANGUAGE plpgsql AS $audit$
DECLARE
  name text := 'audit_of_' || audited_table;
  key text; client text;
BEGIN
  -- What the database computes is told by what it is computed from.
  SELECT derived_columns || coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') INTO derived_columns
  FROM pg_attribute a WHERE a.attrelid = audited_table::regclass AND a.attgenerated <> '';
  INSERT INTO audited (table_name, record_type, mode, derived, reason) VALUES (audited_table, record, how, derived_columns, why);
  IF how = 'NONE' THEN
    RETURN;
  END IF;
  -- The key without the company, as text; `r` stands for the row.
  SELECT string_agg(CASE WHEN a.attname ~ '(^|_)iban$' THEN format('left(r.%1$I, 4) || ''…'' || right(r.%1$I, 4)', a.attname)
                         ELSE format('r.%I::text', a.attname) END, ' || ''/'' || ' ORDER BY k.place) INTO key
  FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  WHERE i.indrelid = audited_table::regclass AND i.indisprimary AND (a.attname <> 'company_id' OR i.indnatts = 1);
  SELECT CASE WHEN audited_table = 'clients' THEN 'r.id' WHEN bool_or(a.attname = 'client_id') THEN 'r.client_id' ELSE 'NULL::uuid' END INTO client
  FROM pg_attribute a WHERE a.attrelid = audited_table::regclass AND a.attnum > 0 AND NOT a.attisdropped;

  EXECUTE format($f$
    CREATE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
    #variable_conflict use_variable
    DECLARE
      c jsonb := nullif(current_setting('encours.audit', true), '')::jsonb;
      kind text := coalesce(c ->> 'kind', 'OPERATOR'); person uuid := (c ->> 'person')::uuid; acting_as text := c ->> 'role';
      doing text := c ->> 'operation'; request text := c ->> 'request'; who text := coalesce(c ->> 'actor', session_user); place text := c ->> 'address';
      old_row jsonb; new_row jsonb; was jsonb; is_now jsonb;
    BEGIN
      IF TG_OP = 'INSERT' THEN
        INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, after)
        SELECT r.company_id, 'CREATED', %2$L, %3$s, %4$s, kind, person, acting_as, doing, request, who, place, %5$s FROM r;
        RETURN NULL;
      END IF;
      IF TG_OP = 'UPDATE' THEN
        old_row := to_jsonb(OLD) - %6$L::text[];
        new_row := to_jsonb(NEW) - %6$L::text[];
        SELECT jsonb_object_agg(o.key, audit_masked(o.key, o.value)), jsonb_object_agg(o.key, audit_masked(o.key, n.value)) INTO was, is_now
        FROM jsonb_each(old_row) o JOIN jsonb_each(new_row) n ON n.key = o.key AND n.value <> o.value AND n.key !~ '_by$';
      ELSE
        was := audit_image(to_jsonb(OLD) - %6$L::text[] - 'company_id');
      END IF;
      IF coalesce(current_setting('encours.erasing', true), '') <> '' THEN
        -- What is being erased must not live on here.
        SELECT jsonb_object_agg(e.key, '(erased)') INTO was FROM jsonb_each(was) e;
      END IF;
      INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, before, after)
      SELECT r.company_id, CASE TG_OP WHEN 'UPDATE' THEN 'CHANGED' ELSE 'DELETED' END, %2$L, %3$s, %4$s, kind, person, acting_as, doing, request, who, place,
        was, is_now
      FROM (SELECT OLD.*) r;
      RETURN NULL;
    END $body$ $f$,
    name, record, key, client, CASE how WHEN 'RECORD' THEN format('audit_image(to_jsonb(r) - ''company_id'' - %L::text[])', derived_columns) ELSE 'NULL::jsonb' END, derived_columns);
  EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', name);
  IF how <> 'PART' THEN
    EXECUTE format('CREATE TRIGGER audit_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS r FOR EACH STATEMENT EXECUTE FUNCTION %I()', audited_table, name);
  END IF;
  PERFORM audit_updates(audited_table);
  EXECUTE format('CREATE TRIGGER audit_delete AFTER DELETE ON %I FOR EACH ROW EXECUTE FUNCTION %I()', audited_table, name);
END $audit$;
REVOKE ALL ON FUNCTION audit(text, text, text, text[], text) FROM PUBLIC;

-- Rights, settings, master data: small, and whole images.
SELECT audit('companies', 'COMPANY', 'RECORD');
SELECT audit('memberships', 'MEMBER', 'RECORD');
SELECT audit('invitations', 'INVITATION', 'RECORD');
SELECT audit('service_accounts', 'SERVICE_ACCOUNT', 'RECORD', '{last_used_at}');
SELECT audit('clients', 'CLIENT', 'RECORD', '{version}');
SELECT audit('client_contacts', 'CONTACT', 'RECORD');
SELECT audit('payer_accounts', 'PAYER_ACCOUNT', 'RECORD');
SELECT audit('bank_accounts', 'BANK_ACCOUNT', 'RECORD');
SELECT audit('accounts', 'ACCOUNT', 'RECORD');
SELECT audit('journals', 'JOURNAL', 'RECORD');
SELECT audit('dispute_reasons', 'DISPUTE_REASON', 'RECORD');
SELECT audit('invoice_drafts', 'INVOICE_DRAFT', 'RECORD');
SELECT audit('webhooks', 'WEBHOOK', 'RECORD', '{position_xid,position_seq,failures,paused_until,claimed_until}');
SELECT audit('imports', 'IMPORT', 'RECORD', '{rows_done,rows_refused}');

-- Facts: the row is its own image.
SELECT audit(t, r, 'FACT') FROM (VALUES
  ('period_closings', 'PERIOD_CLOSING'), ('year_closings', 'YEAR_CLOSING'),
  ('documents', 'DOCUMENT'), ('payments', 'PAYMENT'), ('payment_events', 'PAYMENT_EVENT'), ('allocations', 'ALLOCATION'),
  ('operations', 'OPERATION'), ('penalty_waivers', 'PENALTY_WAIVER'), ('remittances', 'REMITTANCE'),
  ('deductions', 'DEDUCTION'), ('disputes', 'DISPUTE'), ('dispute_events', 'DISPUTE_EVENT'),
  ('doubtful_files', 'DOUBTFUL_FILE'), ('rectified_invoices', 'RECTIFIED_INVOICE'),
  ('provision_policies', 'PROVISION_POLICY'), ('provision_assessments', 'PROVISION_ASSESSMENT'), ('provision_runs', 'PROVISION_RUN'),
  ('bank_statements', 'BANK_STATEMENT'), ('bank_matches', 'BANK_MATCH'),
  ('dunning_scenarios', 'DUNNING_SCENARIO'), ('dunning_runs', 'DUNNING_RUN'), ('dunning_actions', 'DUNNING_ACTION'), ('dunning_proofs', 'DUNNING_PROOF'),
  ('promises', 'PROMISE'), ('instalment_plans', 'PAYMENT_PLAN'), ('collection_notes', 'COLLECTION_NOTE'),
  ('litigation_cases', 'LITIGATION_CASE'), ('litigation_events', 'LITIGATION_EVENT'), ('prescription_interruptions', 'PRESCRIPTION_INTERRUPTION'),
  ('files', 'FILE'), ('evidence_seals', 'EVIDENCE_FILE'), ('letter_templates', 'LETTER_TEMPLATE'), ('tasks', 'TASK'),
  ('erasures', 'ERASURE'), ('legal_archive', 'LEGAL_ARCHIVE')) x(t, r);
SELECT audit('outbox', 'MAIL', 'FACT', '{attempts,next_at}');

-- Parts: written in one transaction with the fact that they belong to, by the same hand.
SELECT audit('journal_entries', 'JOURNAL_ENTRY', 'PART', '{}', 'the entry of a fact; it names its author and its source, and is sealed in the chain of its year');
SELECT audit('journal_lines', 'JOURNAL_LINE', 'PART', '{}', 'lines of an entry, sealed with it');
SELECT audit('journal_seals', 'JOURNAL_SEAL', 'PART', '{}', 'the chain of the entries');
SELECT audit('document_lines', 'DOCUMENT_LINE', 'PART', '{}', 'lines of a document');
SELECT audit('document_taxes', 'DOCUMENT_TAX', 'PART', '{}', 'VAT of a document');
SELECT audit('items', 'ITEM', 'PART', '{open_amount,settled_on,changed_at,matching_id}', 'lines of an entry on clients'' accounts; what is open of them follows from allocations');
SELECT audit('receivable_ledger', 'LEDGER_ROW', 'PART', '{}', 'one row per change of an item, made by the document, payment or allocation behind it');
SELECT audit('matchings', 'MATCHING', 'PART', '{residual,complete,ended_at}', 'letters of allocations');
SELECT audit('vat_moves', 'VAT_MOVE', 'PART', '{}', 'VAT that follows an allocation');
SELECT audit('penalty_claims', 'PENALTY_CLAIM', 'PART', '{}', 'what an operation claims');
SELECT audit('remittance_lines', 'REMITTANCE_LINE', 'PART', '{}', 'lines of a slip');
SELECT audit('dispute_items', 'DISPUTE_ITEM', 'PART', '{}', 'items of a dispute');
SELECT audit('provision_run_clients', 'PROVISION_RUN_CLIENT', 'PART', '{}', 'what a run computed');
SELECT audit('provision_run_lines', 'PROVISION_RUN_LINE', 'PART', '{}', 'what a run computed');
SELECT audit('provision_movements', 'PROVISION_MOVEMENT', 'PART', '{}', 'what a run or an operation moved');
SELECT audit('bank_lines', 'BANK_LINE', 'PART', '{}', 'movements of a statement');
SELECT audit('dunning_action_items', 'DUNNING_ACTION_ITEM', 'PART', '{}', 'claims of a reminder');
SELECT audit('dunning_run_lines', 'DUNNING_RUN_LINE', 'PART', '{}', 'reminders of a run');
SELECT audit('promise_items', 'PROMISE_ITEM', 'PART', '{}', 'claims of a promise');
SELECT audit('plan_items', 'PLAN_ITEM', 'PART', '{}', 'claims of a plan');
SELECT audit('instalments', 'INSTALMENT', 'PART', '{}', 'instalments of a plan');
SELECT audit('litigation_items', 'LITIGATION_ITEM', 'PART', '{}', 'claims of a case');
SELECT audit('outbox_files', 'MAIL_FILE', 'PART', '{}', 'files of a mail');

-- Not audited.
SELECT audit('counters', 'COUNTER', 'NONE', '{}', 'the numbers stand in the records that took them; the integrity check proves that none is missing');
SELECT audit('letter_counters', 'LETTER_COUNTER', 'NONE', '{}', 'the letters stand in the matchings that took them');
SELECT audit('idempotency', 'IDEMPOTENCY_KEY', 'NONE', '{}', 'how a request is repeated; what it did is told');
SELECT audit('idempotency_answers', 'IDEMPOTENCY_ANSWER', 'NONE', '{}', 'how a request is repeated; what it did is told');
SELECT audit('changes', 'CHANGE', 'NONE', '{}', 'the change feed tells the same facts to followers');
SELECT audit('webhook_deliveries', 'WEBHOOK_DELIVERY', 'NONE', '{}', 'the sender''s own log, kept for 30 days');
SELECT audit('sessions', 'SESSION', 'NONE', '{}', 'log-ins, refusals and log-outs are events of the trail');
SELECT audit('audit_entries', 'AUDIT_ENTRY', 'NONE', '{}', 'the trail itself');
SELECT audit('audit_seals', 'AUDIT_SEAL', 'NONE', '{}', 'the chain of the trail');
SELECT audit('audit_chains', 'AUDIT_CHAIN', 'NONE', '{}', 'the end of the chain');

-- Puts every table of a company that nobody thought of on the trail, with whole images. The owner calls it after each migration.
CREATE FUNCTION audit_the_rest() RETURNS void LANGUAGE plpgsql AS $$
DECLARE t text;
BEGIN
  FOR t IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
      AND NOT EXISTS (SELECT 1 FROM audited x WHERE x.table_name = c.relname) ORDER BY c.relname
  LOOP
    PERFORM audit(t, upper(t), 'RECORD');
  END LOOP;
  -- Columns may have come to those that compare some of them.
  FOR t IN SELECT x.table_name FROM audited x WHERE x.mode <> 'NONE' AND cardinality(x.derived) > 0 LOOP
    PERFORM audit_updates(t);
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION audit_the_rest() FROM PUBLIC;

-- An event that is no write: an export, a log-in. The serving role records events by this function only, and no writes.
CREATE FUNCTION audit_event(of_company uuid, event text, record text, of_record text, of_client uuid, told jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE c jsonb := nullif(current_setting('encours.audit', true), '')::jsonb;
BEGIN
  IF event IN ('CREATED', 'CHANGED', 'DELETED') THEN
    RAISE EXCEPTION 'writes are recorded by the tables themselves';
  END IF;
  INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, details)
  VALUES (of_company, event, record, of_record, of_client, coalesce(c ->> 'kind', 'OPERATOR'), (c ->> 'person')::uuid, c ->> 'role', c ->> 'operation',
    c ->> 'request', coalesce(c ->> 'actor', session_user), c ->> 'address', told);
END $$;
REVOKE ALL ON FUNCTION audit_event(uuid, text, text, text, uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_event(uuid, text, text, text, uuid, jsonb) TO encours_app;

-- The row of an insert that kept no image, as it was written: what it is now, with its later changes taken back.
CREATE FUNCTION audit_original(of_company uuid, record text, of_record text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE a audited; found jsonb; change jsonb;
BEGIN
  SELECT * INTO a FROM audited x WHERE x.record_type = record;
  IF a.table_name IS NULL OR of_record !~ '^[0-9a-f-]{36}$' OR NOT EXISTS (SELECT 1 FROM information_schema.columns k
      WHERE k.table_schema = current_schema() AND k.table_name = a.table_name AND k.column_name = 'id') THEN
    RETURN NULL;
  END IF;
  EXECUTE format('SELECT to_jsonb(t) - ''company_id'' - $3 FROM %I t WHERE t.company_id = $1 AND t.id = $2', a.table_name)
    INTO found USING of_company, of_record::uuid, a.derived;
  FOR change IN SELECT e.before FROM audit_entries e WHERE e.company_id = of_company AND e.record_id = of_record AND e.record_type = record
    AND e.action IN ('CHANGED', 'DELETED') ORDER BY e.at DESC, e.seq DESC
  LOOP
    found := coalesce(found, '{}') || coalesce(change, '{}');
  END LOOP;
  RETURN audit_image(found);
END $$;

-- ---------------------------------------------------------------- the chain

-- What is sealed of an entry and never erased ...
CREATE FUNCTION audit_head(e audit_entries) RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT convert_to(jsonb_build_array(e.seq, (extract(epoch FROM e.at) * 1000000)::bigint, e.action, e.record_type, e.record_id, e.client_id, e.actor_kind,
    e.actor_id, CASE WHEN e.actor_kind <> 'PERSON' THEN e.actor END, e.role, e.operation, e.request_id)::text, 'UTF8')
$$;
-- ... who it was ...
CREATE FUNCTION audit_who(e audit_entries) RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT sha256(coalesce(uuid_send(e.who_salt), '') || convert_to(jsonb_build_array(e.actor, e.address)::text, 'UTF8'))
$$;
-- ... and what changed.
CREATE FUNCTION audit_what(e audit_entries) RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT sha256(coalesce(uuid_send(e.what_salt), '') || convert_to(jsonb_build_array(e.before, e.after, e.details)::text, 'UTF8'))
$$;
CREATE FUNCTION audit_link(state bytea, origin bytea, head bytea, who bytea, what bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(coalesce(state, origin) || sha256(head) || who || what)
$$;
-- Each seal is the hash of the one before and of its entry: over ordered rows, from `origin`.
CREATE AGGREGATE audit_chained(origin bytea, head bytea, who bytea, what bytea) (SFUNC = audit_link, STYPE = bytea);
CREATE FUNCTION audit_origin(of_company uuid) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(convert_to('audit ' || of_company::text, 'UTF8'))
$$;

-- Seals up to `most` entries behind the end of a company's chain; answers how many. Nothing of a transaction that could still
-- come between is sealed. Another session that seals the same company is not waited for.
CREATE FUNCTION seal_audit(of_company uuid, most int, horizon xid8 DEFAULT NULL) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE chain audit_chains; sealed int;
BEGIN
  INSERT INTO audit_chains (company_id) VALUES (of_company) ON CONFLICT DO NOTHING;
  SELECT * INTO chain FROM audit_chains c WHERE c.company_id = of_company FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  WITH next AS (
    SELECT e.xid, e.seq, audit_head(e) AS head, audit_who(e) AS who, audit_what(e) AS what, row_number() OVER (ORDER BY e.xid, e.seq) AS place
    FROM audit_entries e
    WHERE e.company_id = of_company AND (e.xid, e.seq) > (chain.xid, chain.seq) AND e.xid < coalesce(horizon, pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY e.xid, e.seq LIMIT most)
  INSERT INTO audit_seals (company_id, ordinal, xid, seq, who, what, seal)
  SELECT of_company, chain.ordinal + n.place, n.xid, n.seq, n.who, n.what,
    audit_chained(coalesce(chain.seal, audit_origin(of_company)), n.head, n.who, n.what) OVER (ORDER BY n.place ROWS UNBOUNDED PRECEDING)
  FROM next n;
  GET DIAGNOSTICS sealed = ROW_COUNT;
  UPDATE audit_chains c SET ordinal = s.ordinal, xid = s.xid, seq = s.seq, seal = s.seal
  FROM audit_seals s WHERE c.company_id = of_company AND s.company_id = of_company AND s.ordinal = chain.ordinal + sealed;
  RETURN sealed;
END $$;
REVOKE ALL ON FUNCTION seal_audit(uuid, int, xid8) FROM PUBLIC;
-- Without the horizon: nobody but the owner seals what may still be overtaken.
CREATE FUNCTION seal_audit_now(of_company uuid, most int) RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS
  'SELECT seal_audit(of_company, most)';
REVOKE ALL ON FUNCTION seal_audit_now(uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION seal_audit_now(uuid, int) TO encours_app;

-- Proves the end of a company's chain: the first broken place of its last `most` entries, if any.
CREATE FUNCTION verify_audit(of_company uuid, most bigint,
  OUT sealed bigint, OUT proven bigint, OUT unsealed bigint, OUT erased bigint, OUT seal bytea, OUT sealed_through timestamptz,
  OUT broken_at bigint, OUT broken_why text)
LANGUAGE plpgsql STABLE AS $$
DECLARE chain audit_chains; first bigint; origin bytea;
BEGIN
  SELECT * INTO chain FROM audit_chains c WHERE c.company_id = of_company;
  sealed := coalesce(chain.ordinal, 0);
  seal := chain.seal;
  first := greatest(sealed - most, 0) + 1;
  SELECT s.seal INTO origin FROM audit_seals s WHERE s.company_id = of_company AND s.ordinal = first - 1;
  origin := coalesce(origin, CASE first WHEN 1 THEN audit_origin(of_company) END);
  SELECT count(*) INTO unsealed FROM audit_entries e
    WHERE e.company_id = of_company AND (e.xid, e.seq) > (coalesce(chain.xid, '0'), coalesce(chain.seq, 0));
  SELECT count(*), count(*) FILTER (WHERE x.erasure_id IS NOT NULL OR x.who_salt IS NULL), max(x.at),
    (array_agg(x.place ORDER BY x.place) FILTER (WHERE x.why IS NOT NULL))[1], (array_agg(x.why ORDER BY x.place) FILTER (WHERE x.why IS NOT NULL))[1]
  INTO proven, erased, sealed_through, broken_at, broken_why
  FROM (
    SELECT t.place, t.at, t.erasure_id, t.who_salt, CASE
      WHEN t.ordinal IS NULL THEN 'its seal was removed'
      WHEN t.entry IS NULL THEN 'the entry was removed'
      WHEN t.what_salt IS NOT NULL AND audit_what(t.entry) <> t.what THEN 'what it changed was altered'
      WHEN t.who_salt IS NOT NULL AND audit_who(t.entry) <> t.who THEN 'who made it was altered'
      WHEN t.what_salt IS NULL AND NOT EXISTS (SELECT 1 FROM erasures r WHERE r.company_id = of_company AND r.id = t.erasure_id) THEN 'its content was erased without an erasure'
      WHEN t.who_salt IS NULL AND t.at > now() - interval '1 year'
        AND NOT EXISTS (SELECT 1 FROM erasures r WHERE r.company_id = of_company AND r.id = t.erasure_id) THEN 'its author was erased without an erasure'
      WHEN t.seal IS DISTINCT FROM t.expected THEN 'the chain does not lead here: the entry or its seal was altered'
      END AS why
    FROM (
      SELECT g.place, s.ordinal, s.who, s.what, s.seal, CASE WHEN e.company_id IS NOT NULL THEN e END AS entry, e.at, e.what_salt, e.who_salt, e.erasure_id,
        audit_chained(origin, audit_head(e), s.who, s.what) OVER (ORDER BY g.place ROWS UNBOUNDED PRECEDING) AS expected
      FROM generate_series(first, sealed) g(place)
      LEFT JOIN audit_seals s ON s.company_id = of_company AND s.ordinal = g.place
      LEFT JOIN audit_entries e ON e.company_id = of_company AND e.xid = s.xid AND e.seq = s.seq) t) x;
  IF broken_why IS NULL AND sealed > 0 AND chain.seal IS DISTINCT FROM (SELECT s.seal FROM audit_seals s WHERE s.company_id = of_company AND s.ordinal = sealed) THEN
    broken_at := sealed;
    broken_why := 'the end of the chain was altered';
  END IF;
  IF broken_why IS NULL AND EXISTS (SELECT 1 FROM audit_seals s WHERE s.company_id = of_company AND s.ordinal > sealed) THEN
    broken_at := sealed + 1;
    broken_why := 'the end of the chain was taken back';
  END IF;
  IF broken_why IS NULL THEN
    -- An entry in the sealed past that no seal covers was put there afterwards.
    SELECT s.ordinal, 'an entry was put before it' INTO broken_at, broken_why
    FROM audit_entries e CROSS JOIN LATERAL (SELECT t.ordinal FROM audit_seals t WHERE t.company_id = of_company AND (t.xid, t.seq) > (e.xid, e.seq)
      ORDER BY t.xid, t.seq LIMIT 1) s
    WHERE e.company_id = of_company AND (e.xid, e.seq) <= (chain.xid, chain.seq)
      AND (e.xid, e.seq) >= (SELECT f.xid, f.seq FROM audit_seals f WHERE f.company_id = of_company AND f.ordinal = first)
      AND NOT EXISTS (SELECT 1 FROM audit_seals t WHERE t.company_id = of_company AND t.xid = e.xid AND t.seq = e.seq)
    ORDER BY e.xid, e.seq LIMIT 1;
  END IF;
END $$;

-- A dump that is loaded into another server brings transaction numbers that this server has not reached: new entries would
-- stand before old ones. What came with the dump is sealed as it is and becomes one transaction of long ago; the numbers of
-- transactions are no part of the chain. The owner calls this when the server starts.
CREATE FUNCTION rebase_audit() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE company uuid;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM companies c WHERE EXISTS (SELECT 1 FROM audit_entries e
                 WHERE e.company_id = c.company_id AND e.xid >= pg_snapshot_xmax(pg_current_snapshot()))) THEN
    RETURN false;
  END IF;
  FOR company IN SELECT company_id FROM companies LOOP
    WHILE seal_audit(company, 100000, '18446744073709551615') > 0 LOOP END LOOP;
  END LOOP;
  UPDATE audit_entries SET xid = '1';
  UPDATE audit_seals SET xid = '1';
  UPDATE audit_chains c SET xid = '1', seq = (SELECT coalesce(max(s.seq), 0) FROM audit_seals s WHERE s.company_id = c.company_id);
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION rebase_audit() FROM PUBLIC;

-- ---------------------------------------------------------------- erasure

-- Takes values of some columns out of an image; the names of the columns stay.
CREATE FUNCTION audit_scrubbed(image jsonb, personal text[], pattern text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_object_agg(e.key, CASE WHEN e.value <> 'null' AND (e.key = ANY (personal) OR e.value::text ~* pattern) THEN '"(erased)"' ELSE e.value END)
  FROM jsonb_each(image) e
$$;
-- A pattern that finds these values as whole words, in any case. Those of less than four signs would find too much.
CREATE FUNCTION values_pattern(of_values text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT '(?<!\w)(' || string_agg(regexp_replace(v, '([^[:alnum:][:space:]])', '\\\1', 'g'), '|' ORDER BY length(v) DESC, v) || ')(?!\w)'
  FROM (SELECT DISTINCT trim(u) AS v FROM unnest(of_values) u WHERE length(trim(u)) >= 4) d
$$;
CREATE FUNCTION inside_wall(of_company uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF of_company IS DISTINCT FROM nullif(current_setting('encours.company', true), '')::uuid
    OR coalesce(current_setting('encours.portfolio', true), '') <> '' THEN
    RAISE EXCEPTION 'another company, or a portfolio';
  END IF;
END $$;

-- Takes a person's values out of everything that is written about a client and is no accounting record or proof of a claim:
-- free text, mails, drafts, kept answers, and the trail. Where, and how often.
CREATE FUNCTION erase_values(of_company uuid, of_client uuid, of_values text[], of_erasure uuid) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql AS $$
DECLARE
  pattern text := values_pattern(of_values);
  gone CONSTANT text := '(effacé)';
  c record;
BEGIN
  IF pattern IS NULL THEN
    RETURN;
  END IF;
  -- Text that people write, in whatever table tells of a client. Vouchers and entries are kept by law.
  FOR c IN SELECT k.table_name::text AS t, k.column_name::text AS col FROM information_schema.columns k
    WHERE k.table_schema = current_schema() AND k.data_type = 'text'
      AND k.column_name IN ('note', 'notes', 'reason', 'description', 'spoke_to', 'subject', 'name', 'title', 'text', 'body', 'comment', 'handler',
        'cancelled_reason', 'decision', 'reference', 'last_error')
      AND k.table_name NOT IN ('clients', 'client_contacts', 'legal_archive', 'documents', 'payments', 'payment_events', 'operations', 'items',
        'rectified_invoices', 'bank_matches', 'provision_run_lines', 'doubtful_files', 'evidence_seals', 'outbox', 'dunning_proofs')
      AND EXISTS (SELECT 1 FROM information_schema.columns i
        WHERE i.table_schema = k.table_schema AND i.table_name = k.table_name AND i.column_name = 'client_id')
      AND EXISTS (SELECT 1 FROM information_schema.tables i
        WHERE i.table_schema = k.table_schema AND i.table_name = k.table_name AND i.table_type = 'BASE TABLE')
    ORDER BY 1, 2
  LOOP
    EXECUTE format('UPDATE %1$I t SET %2$I = regexp_replace(t.%2$I, $3, $4, ''gi'') WHERE t.company_id = $1 AND t.client_id = $2 AND t.%2$I ~* $3', c.t, c.col)
      USING of_company, of_client, pattern, gone;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 THEN place := c.t || '.' || c.col; RETURN NEXT; END IF;
  END LOOP;

  UPDATE dispute_events t SET note = regexp_replace(t.note, pattern, gone, 'gi')
  FROM disputes d WHERE d.company_id = of_company AND d.client_id = of_client AND t.company_id = of_company AND t.dispute_id = d.id AND t.note ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'dispute_events.note'; RETURN NEXT; END IF;

  UPDATE invoice_drafts t SET content = regexp_replace(t.content::text, pattern, gone, 'gi')::jsonb
  WHERE t.company_id = of_company AND t.client_id = of_client AND t.content::text ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'invoice_drafts.content'; RETURN NEXT; END IF;

  -- Mails that wait are not sent any more; those that carried a reminder stay as its proof.
  UPDATE outbox t SET status = 'CANCELLED' WHERE t.company_id = of_company AND t.client_id = of_client AND t.status = 'QUEUED' AND t.recipient ~* pattern;
  UPDATE outbox t SET recipient = CASE WHEN t.recipient ~* pattern THEN 'efface@efface.invalid' ELSE t.recipient END,
    subject = regexp_replace(t.subject, pattern, gone, 'gi'), body = regexp_replace(t.body, pattern, gone, 'gi'),
    last_error = regexp_replace(t.last_error, pattern, gone, 'gi')
  WHERE t.company_id = of_company AND t.client_id = of_client AND t.action_id IS NULL
    AND concat_ws(' ', t.recipient, t.subject, t.body, t.last_error) ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'outbox'; RETURN NEXT; END IF;

  -- Answers kept for repeated requests: a repetition reads the records again.
  DELETE FROM idempotency_answers t WHERE t.company_id = of_company AND t.answer ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'idempotency_answers'; RETURN NEXT; END IF;

  UPDATE audit_entries e SET before = audit_scrubbed(e.before, '{}', pattern), after = audit_scrubbed(e.after, '{}', pattern),
    details = audit_scrubbed(e.details, '{}', pattern), what_salt = NULL, erasure_id = of_erasure
  WHERE e.company_id = of_company AND e.client_id = of_client
    AND (e.before::text ~* pattern OR e.after::text ~* pattern OR e.details::text ~* pattern);
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
END $$;
REVOKE ALL ON FUNCTION erase_values(uuid, uuid, text[], uuid) FROM PUBLIC;

-- Every value that some columns of a record ever had, as the trail knows.
CREATE FUNCTION known_values(of_company uuid, record text, of_record text, personal text[]) RETURNS text[] LANGUAGE sql STABLE AS $$
  SELECT array_agg(DISTINCT x.value) FROM audit_entries e
  CROSS JOIN LATERAL (SELECT * FROM jsonb_each_text(coalesce(e.before, '{}')) UNION ALL SELECT * FROM jsonb_each_text(coalesce(e.after, '{}'))) x
  WHERE e.company_id = of_company AND e.record_id = of_record AND e.record_type = record AND x.key = ANY (personal) AND x.value NOT IN ('', '(erased)', '(hidden)')
$$;
REVOKE ALL ON FUNCTION known_values(uuid, text, text, text[]) FROM PUBLIC;
-- Takes the values of some columns out of a record's own entries.
CREATE FUNCTION erase_images(of_company uuid, record text, of_record text, personal text[], of_erasure uuid) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  UPDATE audit_entries e SET before = audit_scrubbed(e.before, personal, '(?!)'), after = audit_scrubbed(e.after, personal, '(?!)'), what_salt = NULL, erasure_id = of_erasure
  WHERE e.company_id = of_company AND e.record_id = of_record AND e.record_type = record AND (e.before ?| personal OR e.after ?| personal);
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;
REVOKE ALL ON FUNCTION erase_images(uuid, text, text, text[], uuid) FROM PUBLIC;

-- Erases a contact: the row keeps its place under a pseudonym. Nothing comes back for one that does not exist.
CREATE FUNCTION erase_contact(of_company uuid, of_contact uuid, of_erasure uuid) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE c client_contacts; personal CONSTANT text[] := '{name,email,phone}'; known text[];
BEGIN
  PERFORM inside_wall(of_company);
  SELECT * INTO c FROM client_contacts t WHERE t.company_id = of_company AND t.id = of_contact FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  known := ARRAY[c.name, c.email, c.phone] || coalesce(known_values(of_company, 'CONTACT', of_contact::text, personal), '{}');
  UPDATE client_contacts t SET name = 'Contact effacé', email = NULL, phone = NULL, removed_at = coalesce(t.removed_at, now())
  WHERE t.company_id = of_company AND t.id = of_contact;
  place := 'client_contacts'; n := 1; RETURN NEXT;
  n := erase_images(of_company, 'CONTACT', of_contact::text, personal, of_erasure);
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
  RETURN QUERY SELECT * FROM erase_values(of_company, c.client_id, array_remove(known, 'Contact effacé'), of_erasure);
  PERFORM set_config('encours.erasing', '', true);
END $$;
REVOKE ALL ON FUNCTION erase_contact(uuid, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_contact(uuid, uuid, uuid) TO encours_app;

-- Erases a client who is a natural person, contacts included. `kept_until` is the last day of the identity in the books.
CREATE FUNCTION erase_client(of_company uuid, of_client uuid, of_erasure uuid, closing date, kept_until date) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE c clients; contact uuid; personal CONSTANT text[] := '{name,address,siren,siret,vat_number,external_ref}'; known text[];
BEGIN
  PERFORM inside_wall(of_company);
  SELECT * INTO c FROM clients t WHERE t.company_id = of_company AND t.id = of_client FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  FOR contact IN SELECT t.id FROM client_contacts t WHERE t.company_id = of_company AND t.client_id = of_client ORDER BY t.id LOOP
    RETURN QUERY SELECT * FROM erase_contact(of_company, contact, of_erasure);
  END LOOP;
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  known := ARRAY[c.name, c.address] || coalesce(known_values(of_company, 'CLIENT', of_client::text, '{name,address}'), '{}');
  IF kept_until IS NOT NULL THEN
    INSERT INTO legal_archive (company_id, client_id, name, address, kept_until, erasure_id)
    VALUES (of_company, of_client, c.name, c.address, kept_until, of_erasure) ON CONFLICT DO NOTHING;
  END IF;
  UPDATE clients t SET name = 'Client effacé ' || t.number, address = NULL, siren = NULL, siret = NULL, vat_number = NULL, external_ref = NULL,
    closed_on = coalesce(t.closed_on, closing), version = t.version + 1
  WHERE t.company_id = of_company AND t.id = of_client;
  place := 'clients'; n := 1; RETURN NEXT;
  DELETE FROM payer_accounts t WHERE t.company_id = of_company AND t.client_id = of_client;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'payer_accounts'; RETURN NEXT; END IF;
  n := erase_images(of_company, 'CLIENT', of_client::text, personal, of_erasure);
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
  RETURN QUERY SELECT * FROM erase_values(of_company, of_client, array_remove(known, 'Client effacé ' || c.number), of_erasure);
  PERFORM set_config('encours.erasing', '', true);
END $$;
REVOKE ALL ON FUNCTION erase_client(uuid, uuid, uuid, date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_client(uuid, uuid, uuid, date, date) TO encours_app;

-- Erases a person who has left every company: the account, its sessions, and the name and addresses on the trail. Accounts belong
-- to no company, so each that the person was in gets the erasure.
CREATE FUNCTION erase_member(of_company uuid, of_user uuid, of_erasure uuid) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE u users; here uuid; pattern text; gone text := 'efface-' || of_user || '@efface.invalid';
BEGIN
  PERFORM inside_wall(of_company);
  SELECT t.* INTO u FROM users t JOIN memberships m ON m.user_id = t.id AND m.company_id = of_company WHERE t.id = of_user FOR UPDATE OF t;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = of_user AND m.ended_at IS NULL) THEN
    RAISE EXCEPTION 'the person is a member' USING ERRCODE = 'check_violation', CONSTRAINT = 'erased_member_left';
  END IF;
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  pattern := values_pattern(ARRAY[u.email, u.name]);
  UPDATE users t SET name = 'Personne effacée', email = gone, password_hash = NULL, disabled_at = coalesce(t.disabled_at, now()) WHERE t.id = of_user;
  place := 'users'; n := 1; RETURN NEXT;
  DELETE FROM sessions t WHERE t.user_id = of_user;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'sessions'; RETURN NEXT; END IF;
  FOR here IN SELECT m.company_id FROM memberships m WHERE m.user_id = of_user ORDER BY 1 LOOP
    INSERT INTO erasures (company_id, id, subject_type, subject_id, reason, recorded_by)
    SELECT here, of_erasure, e.subject_type, e.subject_id, e.reason, 'encours' FROM erasures e
    WHERE e.company_id = of_company AND e.id = of_erasure ON CONFLICT DO NOTHING;
    UPDATE invitations t SET email = gone WHERE t.company_id = here AND t.email = u.email;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 AND here = of_company THEN place := 'invitations'; RETURN NEXT; END IF;
    DELETE FROM idempotency_answers t WHERE t.company_id = here AND t.answer ~* pattern;
    UPDATE audit_entries e SET before = audit_scrubbed(e.before, '{}', pattern), after = audit_scrubbed(e.after, '{}', pattern),
      details = audit_scrubbed(e.details, '{}', pattern), what_salt = NULL, erasure_id = of_erasure
    WHERE e.company_id = here AND e.record_type IN ('INVITATION', 'MEMBER', 'SESSION')
      AND (e.before::text ~* pattern OR e.after::text ~* pattern OR e.details::text ~* pattern);
    UPDATE audit_entries e SET actor = of_user::text, address = NULL, who_salt = NULL, erasure_id = of_erasure
    WHERE e.company_id = here AND e.actor = u.email AND e.actor_kind = 'PERSON';
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 AND here = of_company THEN place := 'audit_entries'; RETURN NEXT; END IF;
  END LOOP;
  PERFORM set_config('encours.erasing', '', true);
END $$;
REVOKE ALL ON FUNCTION erase_member(uuid, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_member(uuid, uuid, uuid) TO encours_app;

-- Takes out of a company what has outlived its retention; the days are the caller's, who knows the law.
CREATE FUNCTION purge_personal_data(of_company uuid, of_erasure uuid, today date, answers_before date, addresses_before date, reminders_before date,
  trail_before date, prospects_before date) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE contact uuid;
BEGIN
  PERFORM inside_wall(of_company);
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  DELETE FROM idempotency_answers t USING idempotency i WHERE t.company_id = of_company AND i.company_id = of_company AND i.key = t.key AND i.created_at < answers_before;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'idempotency_answers'; RETURN NEXT; END IF;
  UPDATE audit_entries e SET address = NULL, who_salt = NULL WHERE e.company_id = of_company AND e.at < addresses_before AND e.address IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries.address'; RETURN NEXT; END IF;
  UPDATE audit_entries e SET before = NULL, after = NULL, details = NULL, what_salt = NULL, erasure_id = of_erasure
  WHERE e.company_id = of_company AND e.at < trail_before AND e.what_salt IS NOT NULL AND coalesce(e.before, e.after, e.details) IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
  UPDATE outbox t SET recipient = 'efface@efface.invalid', subject = '(effacé)', body = '(effacé)', last_error = NULL
  WHERE t.company_id = of_company AND t.recorded_at < reminders_before AND t.status <> 'QUEUED' AND t.recipient <> 'efface@efface.invalid';
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'outbox'; RETURN NEXT; END IF;
  UPDATE dunning_actions t SET recipient = NULL WHERE t.company_id = of_company AND t.recorded_at < reminders_before AND t.recipient IS NOT NULL;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'dunning_actions.recipient'; RETURN NEXT; END IF;
  UPDATE collection_notes t SET spoke_to = NULL, note = '(effacé)' WHERE t.company_id = of_company AND t.recorded_at < reminders_before AND t.note <> '(effacé)';
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'collection_notes'; RETURN NEXT; END IF;
  DELETE FROM legal_archive t WHERE t.company_id = of_company AND t.kept_until < today;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'legal_archive'; RETURN NEXT; END IF;
  -- Contacts of prospects: nothing was ever sold to them, and nobody spoke with them for long.
  FOR contact IN SELECT k.id FROM client_contacts k JOIN clients c ON c.company_id = k.company_id AND c.id = k.client_id
    WHERE k.company_id = of_company AND k.removed_at IS NULL AND k.created_at < prospects_before AND c.created_at < prospects_before
      AND NOT EXISTS (SELECT 1 FROM journal_lines l WHERE l.company_id = of_company AND l.client_id = c.id)
      AND NOT EXISTS (SELECT 1 FROM collection_notes x WHERE x.company_id = of_company AND x.client_id = c.id AND x.done_on >= prospects_before)
    ORDER BY k.id
  LOOP
    RETURN QUERY SELECT * FROM erase_contact(of_company, contact, of_erasure);
    PERFORM set_config('encours.erasing', of_erasure::text, true);
  END LOOP;
  PERFORM set_config('encours.erasing', '', true);
END $$;
REVOKE ALL ON FUNCTION purge_personal_data(uuid, uuid, date, date, date, date, date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION purge_personal_data(uuid, uuid, date, date, date, date, date, date) TO encours_app;

-- Whoever was put on the trail before this migration has no past there: it begins here.
SELECT audit_the_rest();

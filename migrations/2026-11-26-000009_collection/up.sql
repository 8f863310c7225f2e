-- Getting paid (sections 7 and 8): files and their proof, letters, mail, runs, plans, calls, litigation.
--
-- Facts are insert-only; what a row becomes is granted column by column at the end.

-- The language in which a client is written to.
ALTER TABLE clients ADD COLUMN language char(2) NOT NULL DEFAULT 'FR' CHECK (language IN ('FR', 'EN'));
-- The day the judgment was published (BODACC): two months to declare the claim (R7.10).
ALTER TABLE clients ADD COLUMN insolvency_published_on date;

-- Level 0 is the courtesy notice before the due date (7.1).
ALTER TABLE dunning_actions DROP CONSTRAINT dunning_actions_level_check;
ALTER TABLE dunning_actions ADD CHECK (level BETWEEN 0 AND 10);
ALTER TABLE dunning_action_items DROP CONSTRAINT dunning_action_items_level_check;
ALTER TABLE dunning_action_items ADD CHECK (level BETWEEN 0 AND 10);

-- A new challenge after the end of a dispute is a new dispute that names it (8.2).
ALTER TABLE disputes ADD COLUMN reopens_id uuid;
ALTER TABLE disputes ADD FOREIGN KEY (company_id, reopens_id) REFERENCES disputes;
CREATE INDEX disputes_by_deadline ON disputes (company_id, respond_by, id) WHERE closed_on IS NULL;

-- What a task is about grows with the desk: the code knows the kinds.
ALTER TABLE tasks DROP CONSTRAINT tasks_kind_check;
ALTER TABLE tasks ADD CHECK (kind ~ '^[A-Z_]{3,40}$');
ALTER TABLE tasks ADD COLUMN client_id uuid;
ALTER TABLE tasks ADD FOREIGN KEY (company_id, client_id) REFERENCES clients;
CREATE INDEX tasks_by_client ON tasks (company_id, client_id) WHERE done_at IS NULL;

-- ---------------------------------------------------------------- files

-- A file that proves or says something. Its bytes are in the object store, named by their digest.
CREATE TABLE files (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  -- Whose it is; null for the company's own (logo, signature).
  client_id uuid,
  subject_type text NOT NULL CHECK (subject_type IN ('COMPANY', 'CLIENT', 'DOCUMENT', 'ITEM', 'DISPUTE', 'DUNNING_ACTION', 'PROMISE', 'PLAN', 'CASE')),
  subject_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('LOGO', 'SIGNATURE', 'INVOICE', 'ORDER', 'CONTRACT', 'DELIVERY_PROOF', 'ACKNOWLEDGMENT_OF_DEBT', 'CORRESPONDENCE',
    'LETTER', 'NOTICE', 'DEPOSIT_SLIP', 'ACKNOWLEDGMENT', 'EVIDENCE', 'OTHER')),
  name text NOT NULL CHECK (name <> '' AND name !~ '[/\\]'),
  media_type text NOT NULL,
  bytes bigint NOT NULL CHECK (bytes > 0),
  sha256 char(64) NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
CREATE INDEX files_by_subject ON files (company_id, subject_id, id);
CREATE INDEX files_by_client ON files (company_id, client_id, id);

-- The seal of an archive that left: what its manifest's digest was.
CREATE TABLE evidence_seals (
  company_id uuid NOT NULL REFERENCES companies,
  manifest_sha256 char(64) NOT NULL CHECK (manifest_sha256 ~ '^[0-9a-f]{64}$'),
  client_id uuid NOT NULL,
  subject text NOT NULL,
  files int NOT NULL CHECK (files > 0),
  sealed_at timestamptz NOT NULL DEFAULT now(),
  sealed_by text NOT NULL,
  PRIMARY KEY (company_id, manifest_sha256),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);

-- ---------------------------------------------------------------- letters and mail

-- The company's own wording over the one that comes with the product; the latest version counts.
CREATE TABLE letter_templates (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  kind text NOT NULL,
  language char(2) NOT NULL CHECK (language IN ('FR', 'EN')),
  version int NOT NULL CHECK (version > 0),
  subject text NOT NULL CHECK (subject <> ''),
  body text NOT NULL CHECK (body <> ''),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, kind, language, version)
);

-- Mail to send, at least once: a row leaves only when the mail server has taken it.
CREATE TABLE outbox (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  -- The reminder that it carries; null for other mail.
  action_id uuid,
  recipient text NOT NULL CHECK (recipient LIKE '%_@_%' AND recipient !~ '[[:cntrl:]]'),
  subject text NOT NULL CHECK (subject <> '' AND subject !~ '[[:cntrl:]]'),
  body text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  status text NOT NULL DEFAULT 'QUEUED' CHECK (status IN ('QUEUED', 'SENT', 'DEAD', 'BOUNCED', 'CANCELLED')),
  attempts int NOT NULL DEFAULT 0,
  next_at timestamptz NOT NULL DEFAULT now(),
  last_error text,
  sent_at timestamptz,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, action_id) REFERENCES dunning_actions
);
CREATE INDEX outbox_due ON outbox (company_id, next_at) WHERE status = 'QUEUED';
CREATE INDEX outbox_by_action ON outbox (company_id, action_id) WHERE action_id IS NOT NULL;
CREATE INDEX outbox_by_client ON outbox (company_id, client_id, id);

CREATE TABLE outbox_files (
  company_id uuid NOT NULL,
  mail_id uuid NOT NULL,
  file_id uuid NOT NULL,
  PRIMARY KEY (company_id, mail_id, file_id),
  FOREIGN KEY (company_id, mail_id) REFERENCES outbox,
  FOREIGN KEY (company_id, file_id) REFERENCES files
);

-- ---------------------------------------------------------------- runs

-- A run of reminders: proposed, reviewed, validated, sent (section 7). One at a time is under way.
CREATE TABLE dunning_runs (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  as_of date NOT NULL,
  automatic boolean NOT NULL,
  status text NOT NULL CHECK (status IN ('PROPOSED', 'VALIDATED', 'SENT', 'CANCELLED')),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  validated_at timestamptz,
  validated_by text,
  ended_at timestamptz,
  ended_by text,
  PRIMARY KEY (company_id, id)
);
CREATE UNIQUE INDEX dunning_runs_one ON dunning_runs (company_id, automatic) WHERE status IN ('PROPOSED', 'VALIDATED');
CREATE INDEX dunning_runs_by_day ON dunning_runs (company_id, as_of, id);

CREATE TABLE dunning_run_lines (
  company_id uuid NOT NULL,
  run_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  currency char(3) NOT NULL,
  level smallint NOT NULL,
  channel text NOT NULL,
  claimed bigint NOT NULL CHECK (claimed > 0),
  items int NOT NULL CHECK (items > 0),
  -- READY and EXCLUDED (by a person) before sending; then SENT, TASK (a person does it) or CANCELLED (no longer due, R7.6).
  status text NOT NULL CHECK (status IN ('READY', 'EXCLUDED', 'SENT', 'TASK', 'CANCELLED')),
  reason text,
  action_id uuid,
  decided_by text,
  PRIMARY KEY (company_id, run_id, id),
  UNIQUE (company_id, run_id, client_id, currency),
  FOREIGN KEY (company_id, run_id) REFERENCES dunning_runs,
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, action_id) REFERENCES dunning_actions
);

-- What became of a registered letter: deposited, acknowledged, refused, unclaimed, undelivered (R7.9).
CREATE TABLE dunning_proofs (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  action_id uuid NOT NULL,
  client_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('DEPOSIT', 'ACKNOWLEDGMENT', 'REFUSED', 'UNCLAIMED', 'UNDELIVERED')),
  happened_on date NOT NULL,
  reference text NOT NULL CHECK (reference <> ''),
  file_id uuid,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, action_id, kind),
  FOREIGN KEY (company_id, action_id) REFERENCES dunning_actions,
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, file_id) REFERENCES files
);

-- ---------------------------------------------------------------- calls, plans

-- Calls, visits and notes of the collectors, for ever.
CREATE TABLE collection_notes (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('CALL', 'EMAIL', 'VISIT', 'NOTE')),
  outcome text NOT NULL CHECK (outcome IN ('REACHED', 'NO_ANSWER', 'MESSAGE_LEFT', 'WRONG_NUMBER', 'PROMISED', 'DISPUTED', 'REFUSED', 'NONE')),
  spoke_to text,
  note text NOT NULL CHECK (note <> ''),
  done_on date NOT NULL,
  -- The day to come back to the client; the latest note's day counts.
  follow_up_on date,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  CHECK (follow_up_on IS NULL OR follow_up_on >= done_on)
);
CREATE INDEX collection_notes_by_client ON collection_notes (company_id, client_id, id);
CREATE INDEX collection_notes_by_day ON collection_notes (company_id, done_on, id);

-- A payment plan (échéancier, moratoire): its items are not chased while it is respected (R7.2).
CREATE TABLE instalment_plans (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  agreed_on date NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL REFERENCES currencies,
  -- What becomes of late-payment interest: it runs on, or it is given up when the plan is respected.
  interest text NOT NULL CHECK (interest IN ('RUNS', 'WAIVED_IF_KEPT')),
  -- Days after an instalment's day before the plan is broken, and the whole is due (déchéance du terme).
  grace_days smallint NOT NULL CHECK (grace_days BETWEEN 0 AND 60),
  note text,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  cancelled_on date,
  cancelled_by text,
  cancelled_reason text,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  CHECK ((cancelled_on IS NULL) = (cancelled_by IS NULL) AND (cancelled_on IS NULL) = (cancelled_reason IS NULL))
);
CREATE INDEX instalment_plans_by_client ON instalment_plans (company_id, client_id, id);
CREATE INDEX instalment_plans_by_day ON instalment_plans (company_id, agreed_on, id);

CREATE TABLE instalments (
  company_id uuid NOT NULL,
  plan_id uuid NOT NULL,
  number smallint NOT NULL CHECK (number > 0),
  due_on date NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  PRIMARY KEY (company_id, plan_id, number),
  FOREIGN KEY (company_id, plan_id) REFERENCES instalment_plans
);

CREATE TABLE plan_items (
  company_id uuid NOT NULL,
  plan_id uuid NOT NULL,
  item_id uuid NOT NULL,
  PRIMARY KEY (company_id, plan_id, item_id),
  FOREIGN KEY (company_id, plan_id) REFERENCES instalment_plans,
  FOREIGN KEY (company_id, item_id) REFERENCES items
);
CREATE INDEX plan_items_by_item ON plan_items (company_id, item_id);

-- What was paid or credited on a plan's items since it was agreed, by a day.
CREATE FUNCTION plan_paid(plan instalment_plans, day date) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(-l.delta), 0)::bigint FROM plan_items i
  JOIN receivable_ledger l ON l.company_id = i.company_id AND l.item_id = i.item_id
    AND l.recorded_at > plan.recorded_at AND l.effective_on <= day
  WHERE i.company_id = plan.company_id AND i.plan_id = plan.id
$$;
-- What a plan wants to have been paid by a day, its days of grace counted.
CREATE FUNCTION plan_wanted(plan instalment_plans, day date) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(n.amount), 0)::bigint FROM instalments n
  WHERE n.company_id = plan.company_id AND n.plan_id = plan.id AND n.due_on + plan.grace_days < day
$$;

-- ---------------------------------------------------------------- litigation

-- A file in the hands of a lawyer, a commissaire de justice or an agency (7.4).
CREATE TABLE litigation_cases (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL,
  client_id uuid NOT NULL,
  currency char(3) NOT NULL REFERENCES currencies,
  claimed bigint NOT NULL CHECK (claimed > 0),
  opened_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  -- Cached from litigation_events, in the same transaction.
  stage text NOT NULL CHECK (stage IN ('PRE_LITIGATION', 'COLLECTION_AGENCY', 'PAYMENT_COMMAND', 'SMALL_CLAIM', 'PAYMENT_ORDER', 'INTERIM_ORDER', 'SUMMONS', 'JUDGMENT', 'ENFORCEMENT', 'CLOSED')),
  handler text,
  closed_on date,
  outcome text CHECK (outcome IN ('PAID', 'SETTLED', 'ABANDONED', 'WRITTEN_OFF', 'INSOLVENCY')),
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  CHECK ((stage = 'CLOSED') = (closed_on IS NOT NULL) AND (closed_on IS NULL) = (outcome IS NULL))
);
CREATE INDEX litigation_cases_by_client ON litigation_cases (company_id, client_id, id);
CREATE INDEX litigation_cases_by_day ON litigation_cases (company_id, opened_on, id);

CREATE TABLE litigation_items (
  company_id uuid NOT NULL,
  case_id uuid NOT NULL,
  item_id uuid NOT NULL,
  claimed bigint NOT NULL CHECK (claimed > 0),
  PRIMARY KEY (company_id, case_id, item_id),
  FOREIGN KEY (company_id, case_id) REFERENCES litigation_cases,
  FOREIGN KEY (company_id, item_id) REFERENCES items
);
CREATE INDEX litigation_items_by_item ON litigation_items (company_id, item_id);

CREATE TABLE litigation_events (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  case_id uuid NOT NULL,
  client_id uuid NOT NULL,
  -- A stage, or what happened in it: an order made, served, contested.
  kind text NOT NULL CHECK (kind IN ('STAGE', 'ORDER_MADE', 'SERVED', 'CONTESTED', 'NOTE')),
  stage text NOT NULL,
  happened_on date NOT NULL,
  reference text,
  note text NOT NULL DEFAULT '',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, case_id) REFERENCES litigation_cases,
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
CREATE INDEX litigation_events_by_case ON litigation_events (company_id, case_id, id);

-- What starts a new period of prescription: a written acknowledgment, a claim in court, an act of enforcement (R7.11).
CREATE TABLE prescription_interruptions (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  item_id uuid NOT NULL,
  client_id uuid NOT NULL,
  cause text NOT NULL CHECK (cause IN ('ACKNOWLEDGMENT', 'COURT_CLAIM', 'ENFORCEMENT')),
  happened_on date NOT NULL,
  note text NOT NULL DEFAULT '',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, item_id) REFERENCES items,
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
CREATE INDEX prescription_interruptions_by_item ON prescription_interruptions (company_id, item_id, happened_on);

-- ---------------------------------------------------------------- the wall

DO $$
DECLARE t text; has_client boolean;
BEGIN
  FOREACH t IN ARRAY ARRAY['files', 'evidence_seals', 'letter_templates', 'outbox', 'outbox_files', 'dunning_runs', 'dunning_run_lines', 'dunning_proofs',
    'collection_notes', 'instalment_plans', 'instalments', 'plan_items', 'litigation_cases', 'litigation_items', 'litigation_events', 'prescription_interruptions']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY company ON %I USING (company_id = (SELECT nullif(current_setting(''encours.company'', true), '''')::uuid))', t);
    SELECT EXISTS (SELECT 1 FROM information_schema.columns
                   WHERE table_schema = current_schema() AND table_name = t AND column_name = 'client_id') INTO has_client;
    IF has_client THEN
      EXECUTE format($p$CREATE POLICY portfolio ON %I AS RESTRICTIVE USING (
        (SELECT coalesce(current_setting('encours.portfolio', true), '') = '')
        OR client_id IN (SELECT c.id FROM clients c))$p$, t);
    END IF;
    EXECUTE format('CREATE POLICY migrator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT ON files, evidence_seals, letter_templates, outbox, outbox_files, dunning_runs, dunning_run_lines, dunning_proofs, collection_notes,
  instalment_plans, instalments, plan_items, litigation_cases, litigation_items, litigation_events, prescription_interruptions TO encours_app;
GRANT UPDATE (status, attempts, next_at, last_error, sent_at) ON outbox TO encours_app;
GRANT UPDATE (status, validated_at, validated_by, ended_at, ended_by) ON dunning_runs TO encours_app;
GRANT UPDATE (status, reason, action_id, decided_by) ON dunning_run_lines TO encours_app;
GRANT UPDATE (cancelled_on, cancelled_by, cancelled_reason) ON instalment_plans TO encours_app;
GRANT UPDATE (stage, handler, closed_on, outcome) ON litigation_cases TO encours_app;

-- Four eyes (section 12): what waits for a second person, what was decided, and the rules in force at any time.

-- A request for approval. What was proposed is never changed: whoever approves approves what was shown.
CREATE TABLE approval_requests (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('CREDIT_NOTE', 'WRITE_OFF', 'DOUBTFUL', 'PROVISION', 'CREDIT_LIMIT', 'BANK_DETAILS', 'MATCHING', 'PENALTY_WAIVER')),
  -- Why a second person is needed.
  ground text NOT NULL CHECK (ground IN ('ALWAYS', 'ABOVE_THRESHOLD', 'BACK_DATED', 'SAME_PERSON')),
  -- The right that decides it: a row of the table of roles and actions.
  approver text NOT NULL,
  client_id uuid,
  -- The invoice or the credit note's invoice; null when it is about none or several.
  document_id uuid,
  amount bigint,
  currency char(3) REFERENCES currencies,
  -- The mutation, and its input as it was sent; null when it was done at once by another way.
  operation text,
  input jsonb,
  input_hash text,
  reason text,
  before jsonb NOT NULL DEFAULT '{}',
  after jsonb NOT NULL DEFAULT '{}',
  proposed_at timestamptz NOT NULL DEFAULT now(),
  proposed_by text NOT NULL,
  -- The person, who may come in under several names.
  proposed_user uuid,
  -- The rights that it was proposed with, and is done with.
  role text NOT NULL,
  scopes text[],
  expires_at timestamptz,
  status text NOT NULL CHECK (status IN ('PROPOSED', 'APPROVED', 'REJECTED', 'WITHDRAWN', 'EXPIRED')),
  decided_at timestamptz,
  decided_by text,
  decision text,
  -- Whether duties were segregated when it was decided.
  segregated boolean,
  -- What it made, as the API names it.
  result_id text,
  -- What the proposing call would have answered: a replay under its key gives it.
  outcome jsonb,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, document_id) REFERENCES documents,
  CHECK ((amount IS NULL) OR (currency IS NOT NULL)),
  CHECK ((status = 'PROPOSED') = (decided_by IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL)),
  CHECK ((status = 'PROPOSED') = (segregated IS NULL)),
  -- R12.1 and R12.6, whatever the code does.
  CONSTRAINT never_the_author CHECK (status NOT IN ('APPROVED', 'REJECTED') OR NOT segregated OR decided_by <> proposed_by),
  CONSTRAINT rejected_with_a_reason CHECK (status <> 'REJECTED' OR coalesce(decision, '') <> ''),
  CONSTRAINT approved_with_a_result CHECK (status <> 'APPROVED' OR result_id IS NOT NULL)
);
CREATE INDEX approval_requests_waiting ON approval_requests (company_id, proposed_at, id) WHERE status = 'PROPOSED';
CREATE INDEX approval_requests_by_day ON approval_requests (company_id, proposed_at, id);
CREATE INDEX approval_requests_by_client ON approval_requests (company_id, client_id, proposed_at, id);
CREATE INDEX approval_requests_by_input ON approval_requests (company_id, operation, input_hash) WHERE input_hash IS NOT NULL;
CREATE INDEX approval_requests_by_result ON approval_requests (company_id, result_id) WHERE result_id IS NOT NULL;

-- Everything that was decided about a request, for ever.
CREATE TABLE approval_events (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  request_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('PROPOSED', 'APPROVED', 'REJECTED', 'WITHDRAWN', 'EXPIRED')),
  reason text,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, request_id) REFERENCES approval_requests
);
CREATE INDEX approval_events_by_request ON approval_events (company_id, request_id, id);

-- Whether duties are segregated and above which amounts, as it was at any time: the latest row before counts.
CREATE TABLE approval_rules (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  segregation boolean NOT NULL,
  -- Kind, currency, minor units: {"CREDIT_NOTE": {"EUR": 100000}}. Other rules beside them, for the record.
  thresholds jsonb NOT NULL DEFAULT '{}',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id)
);
CREATE INDEX approval_rules_latest ON approval_rules (company_id, recorded_at, id);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['approval_requests', 'approval_events', 'approval_rules']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY company ON %I USING (company_id = (SELECT nullif(current_setting(''encours.company'', true), '''')::uuid))', t);
    -- Sales neither propose nor decide anything of this (R12.3).
    EXECUTE format('CREATE POLICY portfolio ON %I AS RESTRICTIVE USING ((SELECT coalesce(current_setting(''encours.portfolio'', true), '''') = ''''))', t);
    EXECUTE format('CREATE POLICY migrator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT ON approval_requests, approval_events, approval_rules TO encours_app;
GRANT UPDATE (status, decided_at, decided_by, decision, segregated, result_id, outcome) ON approval_requests TO encours_app;

-- What waits, and what becomes of it; what was done at once waited for nobody.
SELECT watch('approval_requests', 'WORKLIST', 'APPROVAL', added => $$CASE WHEN n.status = 'PROPOSED' THEN 'APPROVAL_PROPOSED' END$$,
  changed => $$CASE WHEN n.status <> 'PROPOSED' THEN 'APPROVAL_' || n.status END$$);

-- What is there already: the rules of each company, and the files and runs that wait for a decision. Their request
-- has their own id.
INSERT INTO approval_rules (company_id, id, segregation, recorded_by)
  SELECT company_id, gen_random_uuid(), segregation, 'encours' FROM companies;
INSERT INTO approval_requests (company_id, id, kind, ground, approver, client_id, document_id, amount, currency, operation, input, reason,
    proposed_at, proposed_by, role, status)
  SELECT company_id, id, CASE kind WHEN 'TRANSFER' THEN 'DOUBTFUL' ELSE 'WRITE_OFF' END, 'ALWAYS', 'DECIDE_LOSSES', client_id, invoice_id, amount, currency,
    'decideDoubtfulFile', jsonb_build_object('file', jsonb_build_object('number', number)), reason, recorded_at, recorded_by, 'AR_ACCOUNTANT', 'PROPOSED'
  FROM doubtful_files WHERE status = 'PROPOSED';
INSERT INTO approval_requests (company_id, id, kind, ground, approver, amount, currency, operation, input, proposed_at, proposed_by, role, status)
  SELECT company_id, id, 'PROVISION', 'ALWAYS', 'DECIDE_PROVISION',
    (SELECT coalesce(sum(c.required), 0) FROM provision_run_clients c WHERE c.company_id = r.company_id AND c.run_id = r.id), currency,
    'decideProvisionRun', jsonb_build_object('run', jsonb_build_object('number', number)), recorded_at, recorded_by, 'AR_ACCOUNTANT', 'PROPOSED'
  FROM provision_runs r WHERE status = 'PROPOSED';
INSERT INTO approval_events (company_id, id, request_id, kind, recorded_at, recorded_by)
  SELECT company_id, gen_random_uuid(), id, 'PROPOSED', proposed_at, proposed_by FROM approval_requests;

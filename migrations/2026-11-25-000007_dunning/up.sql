-- Dunning (relances, section 7): scenarios by version, what was sent and for what, promises to pay.

CREATE TABLE dunning_scenarios (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  -- A segment's code, or a name of the company's own that clients are given.
  name text NOT NULL CHECK (name ~ '^[A-Z0-9_]{2,30}$'),
  version int NOT NULL CHECK (version > 0),
  content jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, name, version)
);

-- The scenario of a client when it is not that of its segment.
ALTER TABLE clients ADD COLUMN dunning_scenario text CHECK (dunning_scenario ~ '^[A-Z0-9_]{2,30}$');

-- A reminder that was made: immutable, with the figures of that moment (R7.9). Amounts in minor units.
CREATE TABLE dunning_actions (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  currency char(3) NOT NULL REFERENCES currencies,
  level smallint NOT NULL CHECK (level BETWEEN 1 AND 10),
  channel text NOT NULL CHECK (channel IN ('EMAIL', 'PHONE', 'LETTER', 'REGISTERED_LETTER', 'ELECTRONIC_REGISTERED_LETTER', 'FILE_TRANSFER')),
  tone text NOT NULL,
  done_on date NOT NULL,
  -- What was claimed, and the credits that were not matched then.
  claimed bigint NOT NULL CHECK (claimed > 0),
  credits bigint NOT NULL CHECK (credits >= 0),
  scenario text NOT NULL,
  scenario_version int NOT NULL CHECK (scenario_version >= 0),
  recipient text,
  proof text,
  note text,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
CREATE INDEX dunning_actions_by_client ON dunning_actions (company_id, client_id, done_on);
CREATE INDEX dunning_actions_by_day ON dunning_actions (company_id, done_on, id);

CREATE TABLE dunning_action_items (
  company_id uuid NOT NULL,
  action_id uuid NOT NULL,
  item_id uuid NOT NULL,
  level smallint NOT NULL CHECK (level BETWEEN 1 AND 10),
  residual bigint NOT NULL CHECK (residual > 0),
  disputed bigint NOT NULL CHECK (disputed >= 0),
  claimed bigint NOT NULL CHECK (claimed > 0 AND claimed <= residual),
  PRIMARY KEY (company_id, action_id, item_id),
  FOREIGN KEY (company_id, action_id) REFERENCES dunning_actions,
  FOREIGN KEY (company_id, item_id) REFERENCES items
);
CREATE INDEX dunning_action_items_by_item ON dunning_action_items (company_id, item_id);

CREATE TABLE promises (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  promised_on date NOT NULL,
  due_on date NOT NULL CHECK (due_on >= promised_on),
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL REFERENCES currencies,
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
CREATE INDEX promises_by_client ON promises (company_id, client_id, due_on);
CREATE INDEX promises_by_day ON promises (company_id, due_on, id);

CREATE TABLE promise_items (
  company_id uuid NOT NULL,
  promise_id uuid NOT NULL,
  item_id uuid NOT NULL,
  PRIMARY KEY (company_id, promise_id, item_id),
  FOREIGN KEY (company_id, promise_id) REFERENCES promises,
  FOREIGN KEY (company_id, item_id) REFERENCES items
);
CREATE INDEX promise_items_by_item ON promise_items (company_id, item_id);

DO $$
DECLARE t text; has_client boolean;
BEGIN
  FOREACH t IN ARRAY ARRAY['dunning_scenarios', 'dunning_actions', 'dunning_action_items', 'promises', 'promise_items']
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
GRANT SELECT, INSERT ON dunning_scenarios, dunning_actions, dunning_action_items, promises, promise_items TO encours_app;
GRANT UPDATE (cancelled_on, cancelled_by, cancelled_reason) ON promises TO encours_app;

-- The core of encours: reference data, companies and their wall, documents, the journal,
-- open items and their append-only ledger, matching, disputes, provisions.
--
-- Conventions. Amounts are bigint minor units of the currency beside them. Days are `date`
-- and end in _on; instants are `timestamptz` and end in _at. Every business table starts its
-- keys with company_id. Facts are insert-only for the serving role; the few columns it may
-- update are granted one by one at the end.

-- The serving role: neither owner nor superuser, and it cannot bypass row-level security.
-- Roles belong to the whole server: two databases may be migrated at once.
DO $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'encours_app') THEN
    CREATE ROLE encours_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL;
END $$;
DO $$
BEGIN
  -- Lets a migrator that is not a superuser serve through SET ROLE.
  IF NOT pg_has_role(current_user, 'encours_app', 'MEMBER') THEN
    EXECUTE format('GRANT encours_app TO %I', current_user);
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL;
END $$;

-- ---------------------------------------------------------------- reference data

CREATE TABLE currencies (
  code char(3) PRIMARY KEY CHECK (code ~ '^[A-Z]{3}$'),
  exponent smallint NOT NULL CHECK (exponent BETWEEN 0 AND 4),
  name text NOT NULL
);
INSERT INTO currencies (code, exponent, name) VALUES
  ('EUR', 2, 'Euro'), ('USD', 2, 'Dollar des États-Unis'), ('GBP', 2, 'Livre sterling'),
  ('CHF', 2, 'Franc suisse'), ('JPY', 0, 'Yen'), ('CAD', 2, 'Dollar canadien'),
  ('SEK', 2, 'Couronne suédoise'), ('NOK', 2, 'Couronne norvégienne'), ('DKK', 2, 'Couronne danoise'),
  ('PLN', 2, 'Zloty'), ('CZK', 2, 'Couronne tchèque'), ('HUF', 2, 'Forint'),
  ('RON', 2, 'Leu roumain'), ('BGN', 2, 'Lev bulgare'), ('MAD', 2, 'Dirham marocain'),
  ('TND', 3, 'Dinar tunisien'), ('DZD', 2, 'Dinar algérien'), ('XOF', 0, 'Franc CFA (BCEAO)'),
  ('XAF', 0, 'Franc CFA (BEAC)'), ('XPF', 0, 'Franc CFP'), ('CNY', 2, 'Yuan'),
  ('AUD', 2, 'Dollar australien'), ('BHD', 3, 'Dinar de Bahreïn'), ('KWD', 3, 'Dinar koweïtien');

-- Legal values are dated data with their source (R0.5). No row for a day is an error, never a guess.
CREATE TABLE legal_rates (
  kind text NOT NULL CHECK (kind IN ('ECB_REFINANCING', 'LEGAL_INTEREST_PROFESSIONAL', 'DEFAULT_PENALTY_MARGIN', 'CONTRACT_FLOOR_MULTIPLE', 'RECOVERY_INDEMNITY')),
  valid_from date NOT NULL,
  valid_to date,
  value numeric(12, 4) NOT NULL,
  unit text NOT NULL CHECK (unit IN ('PERCENT', 'POINTS', 'TIMES', 'EUR')),
  source text NOT NULL,
  PRIMARY KEY (kind, valid_from),
  CHECK (valid_to IS NULL OR valid_to >= valid_from)
);
INSERT INTO legal_rates (kind, valid_from, valid_to, value, unit, source)
SELECT 'ECB_REFINANCING', d::date, (d::date + interval '6 months' - interval '1 day')::date, v, 'PERCENT',
       'Taux de refinancement BCE au 1er jour du semestre, C. com. L441-10 II' || n
FROM (VALUES
  ('2019-01-01', 0.00, ''), ('2019-07-01', 0.00, ''), ('2020-01-01', 0.00, ''), ('2020-07-01', 0.00, ''),
  ('2021-01-01', 0.00, ''), ('2021-07-01', 0.00, ''), ('2022-01-01', 0.00, ''), ('2022-07-01', 0.00, ''),
  ('2023-01-01', 2.50, ''), ('2023-07-01', 4.00, ''), ('2024-01-01', 4.50, ''), ('2024-07-01', 4.25, ''),
  ('2025-01-01', 3.15, ''), ('2025-07-01', 2.15, ''), ('2026-01-01', 2.15, ''),
  ('2026-07-01', 2.40, ' (source secondaire : à confirmer avant usage)')) AS t(d, v, n);
INSERT INTO legal_rates (kind, valid_from, valid_to, value, unit, source)
SELECT 'LEGAL_INTEREST_PROFESSIONAL', d::date, (d::date + interval '6 months' - interval '1 day')::date, v, 'PERCENT',
       'Taux de l''intérêt légal, colonne professionnels, arrêté semestriel' || n
FROM (VALUES
  ('2019-01-01', 0.86, ''), ('2019-07-01', 0.87, ''), ('2020-01-01', 0.87, ''), ('2020-07-01', 0.84, ''),
  ('2021-01-01', 0.79, ''), ('2021-07-01', 0.76, ''), ('2022-01-01', 0.76, ''), ('2022-07-01', 0.77, ''),
  ('2023-01-01', 2.06, ''), ('2023-07-01', 4.22, ''), ('2024-01-01', 5.07, ''), ('2024-07-01', 4.92, ''),
  ('2025-01-01', 3.71, ''), ('2025-07-01', 2.76, ''), ('2026-01-01', 2.62, ''),
  ('2026-07-01', 2.75, ' (sources secondaires : à confirmer avant usage)')) AS t(d, v, n);
INSERT INTO legal_rates (kind, valid_from, valid_to, value, unit, source) VALUES
  ('DEFAULT_PENALTY_MARGIN', '2009-01-01', NULL, 10, 'POINTS', 'C. com. L441-10 II (ancien L441-6): BCE + 10 points'),
  ('CONTRACT_FLOOR_MULTIPLE', '2009-01-01', NULL, 3, 'TIMES', 'C. com. L441-10 II: trois fois le taux de l''intérêt légal'),
  ('RECOVERY_INDEMNITY', '2013-01-01', NULL, 40, 'EUR', 'C. com. D441-5');

-- People. A user may belong to several companies; the membership says as what.
CREATE TABLE users (
  id uuid PRIMARY KEY,
  email text NOT NULL CHECK (email = lower(email) AND email LIKE '%_@_%'),
  name text NOT NULL CHECK (name <> ''),
  password_hash text,
  created_at timestamptz NOT NULL DEFAULT now(),
  disabled_at timestamptz
);
CREATE UNIQUE INDEX users_email ON users (email);

CREATE TABLE memberships (
  user_id uuid NOT NULL REFERENCES users,
  company_id uuid NOT NULL,
  role text NOT NULL CHECK (role IN ('ADMIN', 'DIRECTOR', 'CREDIT_MANAGER', 'AR_ACCOUNTANT', 'SALES', 'AUDITOR', 'BI_READER')),
  created_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  PRIMARY KEY (company_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

-- ---------------------------------------------------------------- companies

CREATE TABLE companies (
  company_id uuid PRIMARY KEY,
  name text NOT NULL CHECK (name <> ''),
  siren text CHECK (siren ~ '^[0-9]{9}$'),
  vat_number text,
  address text,
  currency char(3) NOT NULL REFERENCES currencies,
  fiscal_year_start_month smallint NOT NULL DEFAULT 1 CHECK (fiscal_year_start_month BETWEEN 1 AND 12),
  -- Segregation of duties (section 12): who decides a dispute is not who credits it.
  segregation boolean NOT NULL DEFAULT true,
  -- House rules as settings: tolerance (R2.12, 2.14), mandatory mentions (R6.14), account map, ...
  settings jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);

-- The last closed day: nothing is posted on or before it. The latest row counts; history stays.
CREATE TABLE period_closings (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  closed_through date,
  reason text NOT NULL DEFAULT '',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id)
);
CREATE INDEX period_closings_latest ON period_closings (company_id, recorded_at DESC);

CREATE TABLE counters (
  company_id uuid NOT NULL REFERENCES companies,
  series text NOT NULL,
  fiscal_year int NOT NULL,
  last_number bigint NOT NULL CHECK (last_number >= 0),
  last_on date,
  PRIMARY KEY (company_id, series, fiscal_year)
);

-- The first answer to each idempotency key.
CREATE TABLE idempotency (
  company_id uuid NOT NULL REFERENCES companies,
  key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
  operation text NOT NULL,
  request_hash text NOT NULL,
  -- The records that the first call made, as their ids.
  outcome jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, key)
);
-- The answer as it was first read, per selection of fields: a replay is byte for byte the same.
CREATE TABLE idempotency_answers (
  company_id uuid NOT NULL,
  key text NOT NULL,
  selection_hash text NOT NULL,
  answer text NOT NULL,
  PRIMARY KEY (company_id, key, selection_hash),
  FOREIGN KEY (company_id, key) REFERENCES idempotency
);

-- ---------------------------------------------------------------- clients

CREATE TABLE clients (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  number text NOT NULL CHECK (number ~ '^\S.{0,39}$'),
  external_ref text,
  name text NOT NULL CHECK (name <> ''),
  kind text NOT NULL CHECK (kind IN ('CUSTOMER', 'MEMBER', 'STUDENT', 'OTHER')),
  segment text NOT NULL CHECK (segment IN ('LARGE_GROUP', 'SME', 'NEW_OR_RISKY', 'PUBLIC', 'CONSUMER', 'GROUP_COMPANY')),
  siren text CHECK (siren ~ '^[0-9]{9}$'),
  siret text CHECK (siret ~ '^[0-9]{14}$'),
  vat_number text,
  address text,
  currency char(3) NOT NULL REFERENCES currencies,
  terms_rule text NOT NULL CHECK (terms_rule IN ('NET', 'EOM_THEN_DAYS', 'DAYS_THEN_EOM', 'LEGAL_DEFAULT', 'DECADE')),
  terms_days smallint NOT NULL CHECK (terms_days BETWEEN 0 AND 365),
  terms_then_day smallint CHECK (terms_then_day BETWEEN 1 AND 28),
  sales_owner_id uuid REFERENCES users,
  collector_id uuid REFERENCES users,
  insolvency text NOT NULL DEFAULT 'NONE' CHECK (insolvency IN ('NONE', 'SAFEGUARD', 'RECEIVERSHIP', 'LIQUIDATION')),
  insolvency_on date,
  insured_percent numeric(5, 2) NOT NULL DEFAULT 0 CHECK (insured_percent BETWEEN 0 AND 100),
  insured_limit bigint CHECK (insured_limit >= 0),
  credit_limit bigint CHECK (credit_limit >= 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  closed_on date,
  -- Bumped by every change, so that two editors do not overwrite each other.
  version int NOT NULL DEFAULT 1,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  CHECK ((insolvency = 'NONE') = (insolvency_on IS NULL))
);
CREATE UNIQUE INDEX clients_external_ref ON clients (company_id, external_ref) WHERE external_ref IS NOT NULL;
CREATE INDEX clients_by_name ON clients (company_id, name, id);
CREATE INDEX clients_by_sales_owner ON clients (company_id, sales_owner_id, id);

-- Personal data apart from accounting data.
CREATE TABLE client_contacts (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  role text NOT NULL CHECK (role IN ('ACCOUNTING', 'PURCHASING', 'MANAGEMENT', 'LOGISTICS', 'LEGAL', 'OTHER')),
  name text NOT NULL,
  email text,
  phone text,
  removed_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
CREATE INDEX client_contacts_by_client ON client_contacts (company_id, client_id);

CREATE TABLE dispute_reasons (
  company_id uuid NOT NULL REFERENCES companies,
  code text NOT NULL CHECK (code ~ '^[A-Z0-9_]{2,12}$'),
  label text NOT NULL CHECK (label <> ''),
  label_en text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('COMMERCIAL', 'ADMINISTRATIVE', 'CONTRACTUAL', 'FINANCIAL', 'ASSIGNED')),
  blocks_dunning boolean NOT NULL,
  department text NOT NULL,
  active boolean NOT NULL DEFAULT true,
  PRIMARY KEY (company_id, code)
);

-- ---------------------------------------------------------------- the journal

CREATE TABLE journals (
  company_id uuid NOT NULL REFERENCES companies,
  code text NOT NULL CHECK (code ~ '^[A-Z0-9]{1,6}$'),
  label text NOT NULL,
  PRIMARY KEY (company_id, code)
);

CREATE TABLE journal_entries (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  journal text NOT NULL,
  fiscal_year int NOT NULL,
  number bigint NOT NULL CHECK (number > 0),
  posted_on date NOT NULL,
  -- The day of the operation itself, when it fell in a closed period (R2.2).
  occurred_on date NOT NULL,
  reference text NOT NULL CHECK (reference <> ''),
  label text NOT NULL CHECK (label <> ''),
  source_kind text NOT NULL,
  source_id uuid NOT NULL,
  reversal_of uuid,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, fiscal_year, number),
  FOREIGN KEY (company_id, journal) REFERENCES journals,
  FOREIGN KEY (company_id, reversal_of) REFERENCES journal_entries
);
CREATE INDEX journal_entries_by_source ON journal_entries (company_id, source_id);

CREATE TABLE journal_lines (
  company_id uuid NOT NULL,
  entry_id uuid NOT NULL,
  line smallint NOT NULL,
  account text NOT NULL CHECK (account ~ '^[1-8][0-9]{2,10}$'),
  client_id uuid,
  debit bigint NOT NULL DEFAULT 0 CHECK (debit >= 0),
  credit bigint NOT NULL DEFAULT 0 CHECK (credit >= 0),
  currency char(3) NOT NULL REFERENCES currencies,
  -- The same in the company's currency, at the entry's rate.
  base_debit bigint NOT NULL DEFAULT 0 CHECK (base_debit >= 0),
  base_credit bigint NOT NULL DEFAULT 0 CHECK (base_credit >= 0),
  posted_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, entry_id, line),
  FOREIGN KEY (company_id, entry_id) REFERENCES journal_entries,
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  -- R2.1: exactly one of debit and credit.
  CHECK ((debit = 0) <> (credit = 0)),
  CHECK (base_debit = 0 OR base_credit = 0)
);
CREATE INDEX journal_lines_by_account ON journal_lines (company_id, account, posted_on)
  INCLUDE (currency, debit, credit, client_id);

-- R2.1: an entry is written whole, by one statement, and balances in every currency and in base.
CREATE FUNCTION check_entry_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad uuid;
BEGIN
  SELECT entry_id INTO bad FROM (
    SELECT entry_id, currency, sum(debit) d, sum(credit) c, sum(base_debit) bd, sum(base_credit) bc
    FROM added GROUP BY entry_id, currency) t
  WHERE d <> c OR bd <> bc LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % does not balance', bad USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_balances';
  END IF;
  SELECT a.entry_id INTO bad FROM added a GROUP BY a.company_id, a.entry_id
  HAVING count(*) < 2 OR count(*) <> (SELECT count(*) FROM journal_lines l WHERE l.company_id = a.company_id AND l.entry_id = a.entry_id)
  LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % must be written whole, with two lines or more', bad USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_whole';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER journal_lines_balance AFTER INSERT ON journal_lines
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_entry_balance();

-- ---------------------------------------------------------------- documents

-- Drafts have no number and may change or vanish (R9.2).
CREATE TABLE invoice_drafts (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  content jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  updated_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);

-- Invoices (factures) and credit notes (avoirs): mirror images that share lines, VAT and numbering.
CREATE TABLE documents (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('INVOICE', 'CREDIT_NOTE')),
  number text NOT NULL CHECK (number ~ '^\S.{0,59}$'),
  external_ref text,
  -- True when another system numbered it: only uniqueness is checked.
  external_series boolean NOT NULL,
  client_id uuid NOT NULL,
  issued_on date NOT NULL,
  -- The last instalment's day; null for a credit note.
  due_on date,
  currency char(3) NOT NULL REFERENCES currencies,
  net bigint NOT NULL CHECK (net >= 0),
  vat bigint NOT NULL CHECK (vat >= 0),
  total bigint NOT NULL CHECK (total > 0),
  -- Company-currency units for one unit of the document's currency.
  exchange_rate numeric(18, 8) NOT NULL CHECK (exchange_rate > 0),
  -- The invoice a credit note corrects (R2.5); null when free-standing.
  invoice_id uuid,
  -- For a free-standing credit note: the period it refers to.
  period_from date,
  period_to date,
  purchase_order text,
  -- The parties and the mandatory mentions as issued (R6.14, R9.3): never edited afterwards.
  snapshot jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, kind, number),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents,
  CHECK (net + vat = total),
  CHECK ((kind = 'INVOICE') = (due_on IS NOT NULL)),
  CHECK (due_on IS NULL OR due_on >= issued_on),
  CHECK (invoice_id IS NULL OR kind = 'CREDIT_NOTE')
);
CREATE UNIQUE INDEX documents_external_ref ON documents (company_id, kind, external_ref) WHERE external_ref IS NOT NULL;
CREATE INDEX documents_by_issue ON documents (company_id, kind, issued_on, id);
CREATE INDEX documents_by_due ON documents (company_id, kind, due_on, id);
CREATE INDEX documents_by_total ON documents (company_id, kind, total, id);
CREATE INDEX documents_by_client ON documents (company_id, client_id, kind, issued_on, id);
CREATE INDEX documents_by_invoice ON documents (company_id, invoice_id) WHERE invoice_id IS NOT NULL;

CREATE TABLE document_lines (
  company_id uuid NOT NULL,
  document_id uuid NOT NULL,
  line smallint NOT NULL,
  description text NOT NULL CHECK (description <> ''),
  quantity numeric(18, 6) NOT NULL,
  unit_price numeric(18, 6) NOT NULL,
  discount_percent numeric(7, 4) NOT NULL DEFAULT 0 CHECK (discount_percent BETWEEN 0 AND 100),
  vat_rate numeric(6, 3) NOT NULL CHECK (vat_rate BETWEEN 0 AND 100),
  net bigint NOT NULL,
  account text NOT NULL,
  PRIMARY KEY (company_id, document_id, line),
  FOREIGN KEY (company_id, document_id) REFERENCES documents
);
CREATE TABLE document_taxes (
  company_id uuid NOT NULL,
  document_id uuid NOT NULL,
  vat_rate numeric(6, 3) NOT NULL,
  net bigint NOT NULL,
  vat bigint NOT NULL CHECK (vat >= 0),
  PRIMARY KEY (company_id, document_id, vat_rate),
  FOREIGN KEY (company_id, document_id) REFERENCES documents
);

CREATE TABLE payments (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL CHECK (number ~ '^\S.{0,59}$'),
  external_ref text,
  external_series boolean NOT NULL,
  received_on date NOT NULL,
  method text NOT NULL CHECK (method IN ('CHEQUE', 'TRANSFER', 'CARD', 'DIRECT_DEBIT', 'BILL', 'CASH')),
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL REFERENCES currencies,
  exchange_rate numeric(18, 8) NOT NULL CHECK (exchange_rate > 0),
  -- Null while the payer is unknown; then the amount waits on 471.
  client_id uuid,
  payer text,
  -- What the payer wrote: read for invoice numbers (R3.8).
  remittance text,
  -- A bill's maturity.
  matures_on date,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  CHECK (client_id IS NOT NULL OR payer IS NOT NULL),
  CHECK ((method = 'BILL') OR matures_on IS NULL)
);
CREATE UNIQUE INDEX payments_external_ref ON payments (company_id, external_ref) WHERE external_ref IS NOT NULL;
CREATE INDEX payments_by_day ON payments (company_id, received_on, id);
CREATE INDEX payments_by_client ON payments (company_id, client_id, received_on, id);

-- What became known of a payment later: its payer, or that it bounced. One row per event, for ever.
CREATE TABLE payment_events (
  company_id uuid NOT NULL,
  payment_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('IDENTIFIED', 'RETURNED')),
  happened_on date NOT NULL,
  client_id uuid,
  reason text,
  fee bigint NOT NULL DEFAULT 0 CHECK (fee >= 0),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, payment_id, kind),
  FOREIGN KEY (company_id, payment_id) REFERENCES payments,
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);

-- ---------------------------------------------------------------- open items

-- A line on a third-party account: what is owed (debit) or what was received (credit).
CREATE TABLE items (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  family char(3) NOT NULL CHECK (family IN ('411', '413', '416')),
  kind text NOT NULL CHECK (kind IN ('INVOICE', 'CREDIT_NOTE', 'PAYMENT', 'DEDUCTION', 'DEDUCTION_SETTLEMENT', 'RETURN', 'BILL')),
  is_debit boolean NOT NULL,
  reference text NOT NULL,
  source_id uuid NOT NULL,
  -- The invoice behind it: itself, the one a deduction was taken on, the one a credit note corrects.
  invoice_id uuid,
  entry_id uuid NOT NULL,
  entry_line smallint NOT NULL,
  posted_on date NOT NULL,
  -- The day age is counted from when balances are read by invoice date (R4.6).
  invoiced_on date NOT NULL,
  due_on date,
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL REFERENCES currencies,
  -- The document's HT and TTC: the ratio that takes VAT out of a provision's base (R5.2).
  document_net bigint NOT NULL,
  document_total bigint NOT NULL CHECK (document_total > 0),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  -- Cached, rebuilt from receivable_ledger: what is open counting every fact so far ...
  open_amount bigint NOT NULL CHECK (open_amount >= 0),
  -- ... the day from which it is settled for good, null while open ...
  settled_on date,
  -- ... and the instant of its last ledger row.
  changed_at timestamptz NOT NULL DEFAULT now(),
  -- Cached: the lettering group it stands in now.
  matching_id uuid,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, entry_id, entry_line) REFERENCES journal_lines,
  CHECK (open_amount <= amount),
  CHECK (is_debit = (due_on IS NOT NULL)),
  CHECK ((open_amount = 0) = (settled_on IS NOT NULL))
);
CREATE INDEX items_open ON items (company_id, client_id, due_on, id) WHERE open_amount > 0;
CREATE INDEX items_settled ON items (company_id, settled_on, posted_on);
CREATE INDEX items_changed ON items (company_id, changed_at);
CREATE INDEX items_by_source ON items (company_id, source_id);
CREATE INDEX items_by_invoice ON items (company_id, invoice_id);
CREATE INDEX items_by_reference ON items (company_id, reference);
CREATE INDEX items_by_client ON items (company_id, client_id, posted_on, id);
CREATE INDEX items_by_matching ON items (company_id, matching_id) WHERE matching_id IS NOT NULL;

-- Lettering groups (lettrage). The code is kept in upper case; it is shown in lower case while partial (R3.2).
CREATE TABLE matchings (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  family char(3) NOT NULL,
  currency char(3) NOT NULL,
  code text NOT NULL CHECK (code ~ '^[A-Z]+$'),
  -- Cached: debits minus credits of the group; zero when complete.
  residual bigint NOT NULL,
  complete boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, client_id, family, code),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  CHECK (NOT complete OR residual = 0)
);
-- The last letter used on each auxiliary account: letters are never used twice (R3.3).
CREATE TABLE letter_counters (
  company_id uuid NOT NULL,
  client_id uuid NOT NULL,
  family char(3) NOT NULL,
  last_code int NOT NULL,
  PRIMARY KEY (company_id, client_id, family),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);

-- Allocations (imputations): the truth under the letters (R3.4). Ending one writes the end; history stays.
CREATE TABLE allocations (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  debit_item_id uuid NOT NULL,
  credit_item_id uuid NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL,
  -- As asked, and as it counts: never before either document (R3.6).
  allocated_on date NOT NULL,
  effective_on date NOT NULL CHECK (effective_on >= allocated_on),
  rule text NOT NULL DEFAULT 'MANUAL',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  ended_on date,
  ended_at timestamptz,
  ended_by text,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, debit_item_id) REFERENCES items,
  FOREIGN KEY (company_id, credit_item_id) REFERENCES items,
  CHECK ((ended_on IS NULL) = (ended_at IS NULL) AND (ended_on IS NULL) = (ended_by IS NULL)),
  CHECK (ended_on IS NULL OR ended_on >= effective_on)
);
CREATE INDEX allocations_by_debit ON allocations (company_id, debit_item_id);
CREATE INDEX allocations_by_credit ON allocations (company_id, credit_item_id);

-- Every change of an item's open amount, signed: debits up, credits down. Balances are sums of it.
CREATE TABLE receivable_ledger (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  item_id uuid NOT NULL,
  allocation_id uuid,
  -- Of the item, repeated so that balances can be folded from this table alone.
  client_id uuid NOT NULL,
  currency char(3) NOT NULL,
  is_debit boolean NOT NULL,
  due_on date,
  effective_on date NOT NULL,
  delta bigint NOT NULL CHECK (delta <> 0),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  -- The writing transaction: lets a reader fold everything below a snapshot and probe the tail.
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, item_id) REFERENCES items,
  FOREIGN KEY (company_id, allocation_id) REFERENCES allocations
);
CREATE INDEX receivable_ledger_by_item ON receivable_ledger (company_id, item_id) INCLUDE (effective_on, recorded_at, delta);
CREATE INDEX receivable_ledger_tail ON receivable_ledger (company_id, xid);

-- ---------------------------------------------------------------- disputes and deductions

CREATE TABLE disputes (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL,
  client_id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  deduction_id uuid,
  kind text NOT NULL CHECK (kind IN ('COMMERCIAL', 'ADMINISTRATIVE', 'CONTRACTUAL', 'FINANCIAL', 'ASSIGNED')),
  reason text NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL,
  description text NOT NULL DEFAULT '',
  blocks_dunning boolean NOT NULL,
  owner_id uuid REFERENCES users,
  department text NOT NULL,
  opened_on date NOT NULL,
  respond_by date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  -- Cached from dispute_events, maintained in the same transaction.
  status text NOT NULL CHECK (status IN ('OPEN', 'UNDER_REVIEW', 'ACCEPTED', 'PARTLY_ACCEPTED', 'REJECTED', 'DOCUMENT_SENT', 'CREDIT_NOTE_ISSUED', 'CLOSED', 'WITHDRAWN', 'ESCALATED')),
  outcome text CHECK (outcome IN ('ACCEPTED', 'PARTLY_ACCEPTED', 'REJECTED', 'DOCUMENT_SENT', 'WITHDRAWN')),
  decided_by text,
  accepted_amount bigint CHECK (accepted_amount BETWEEN 0 AND amount),
  credit_note_id uuid,
  closed_on date,
  closed_at timestamptz,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents,
  FOREIGN KEY (company_id, credit_note_id) REFERENCES documents,
  FOREIGN KEY (company_id, reason) REFERENCES dispute_reasons,
  CHECK ((status IN ('CLOSED', 'WITHDRAWN')) = (closed_on IS NOT NULL)),
  CHECK (closed_at IS NULL OR closed_on IS NOT NULL),
  CHECK (closed_on IS NULL OR closed_on >= opened_on)
);
CREATE INDEX disputes_by_invoice ON disputes (company_id, invoice_id);
CREATE INDEX disputes_by_client ON disputes (company_id, client_id);
CREATE INDEX disputes_by_day ON disputes (company_id, opened_on, id);

-- The part of each open item that a dispute covers.
CREATE TABLE dispute_items (
  company_id uuid NOT NULL,
  dispute_id uuid NOT NULL,
  item_id uuid NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  PRIMARY KEY (company_id, dispute_id, item_id),
  FOREIGN KEY (company_id, dispute_id) REFERENCES disputes,
  FOREIGN KEY (company_id, item_id) REFERENCES items
);
CREATE INDEX dispute_items_by_item ON dispute_items (company_id, item_id);

-- States and notes of a dispute, in order, for ever (R8.6).
CREATE TABLE dispute_events (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  dispute_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('STATUS', 'NOTE')),
  status text,
  note text NOT NULL DEFAULT '',
  happened_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, dispute_id) REFERENCES disputes,
  CHECK ((kind = 'STATUS') = (status IS NOT NULL))
);
CREATE INDEX dispute_events_by_dispute ON dispute_events (company_id, dispute_id, id);

CREATE TABLE deductions (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL,
  client_id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL,
  reason text NOT NULL,
  description text NOT NULL DEFAULT '',
  recorded_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  -- Cached from the dispute's outcome.
  status text NOT NULL CHECK (status IN ('OPEN', 'ACCEPTED', 'PARTLY_ACCEPTED', 'REJECTED')),
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents,
  FOREIGN KEY (company_id, reason) REFERENCES dispute_reasons
);
CREATE INDEX deductions_by_invoice ON deductions (company_id, invoice_id);
CREATE INDEX deductions_by_client ON deductions (company_id, client_id);
CREATE INDEX deductions_by_day ON deductions (company_id, recorded_on, id);
ALTER TABLE disputes ADD FOREIGN KEY (company_id, deduction_id) REFERENCES deductions;

-- ---------------------------------------------------------------- provisions

-- Policies are versioned: a change is a new version, the latest of a name counts.
CREATE TABLE provision_policies (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  version int NOT NULL CHECK (version > 0),
  framework text NOT NULL CHECK (framework IN ('FRENCH_GAAP', 'IFRS9')),
  content jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, name, version)
);

-- Individual estimates (R5.3): a rate for a client or one document, with its reason and proof.
CREATE TABLE provision_assessments (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  invoice_id uuid,
  rate_percent numeric(6, 3) NOT NULL CHECK (rate_percent BETWEEN 0 AND 100),
  reason text NOT NULL CHECK (reason <> ''),
  evidence jsonb NOT NULL CHECK (jsonb_array_length(evidence) > 0),
  deductible boolean NOT NULL,
  valid_from date NOT NULL,
  valid_to date,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents,
  CHECK (valid_to IS NULL OR valid_to >= valid_from)
);
CREATE INDEX provision_assessments_by_client ON provision_assessments (company_id, client_id);

-- ---------------------------------------------------------------- import

-- How far an import came, so that a file taken up again goes on where it stopped.
CREATE TABLE imports (
  company_id uuid NOT NULL REFERENCES companies,
  file_hash text NOT NULL,
  kind text NOT NULL,
  rows_done bigint NOT NULL DEFAULT 0,
  rows_refused bigint NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  started_by text NOT NULL,
  PRIMARY KEY (company_id, file_hash, kind)
);

-- ---------------------------------------------------------------- the wall

-- One policy per company table. SALES carry a portfolio: they see the rows of their own clients only.
-- The settings are literal SET LOCALs of the transaction; without them nothing is visible.
DO $$
DECLARE t text; has_client boolean;
BEGIN
  FOREACH t IN ARRAY ARRAY['companies', 'period_closings', 'counters', 'idempotency', 'idempotency_answers', 'clients',
    'client_contacts', 'dispute_reasons', 'journals', 'journal_entries', 'journal_lines', 'invoice_drafts', 'documents',
    'document_lines', 'document_taxes', 'payments', 'payment_events', 'items', 'matchings', 'letter_counters', 'allocations',
    'receivable_ledger', 'disputes', 'dispute_items', 'dispute_events', 'deductions', 'provision_policies',
    'provision_assessments', 'imports']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY company ON %I USING (company_id = (SELECT nullif(current_setting(''encours.company'', true), '''')::uuid))', t);
    SELECT EXISTS (SELECT 1 FROM information_schema.columns
                   WHERE table_schema = current_schema() AND table_name = t AND column_name = 'client_id')
      AND t <> 'payment_events' INTO has_client;
    IF has_client THEN
      EXECUTE format($p$CREATE POLICY portfolio ON %I AS RESTRICTIVE USING (
        (SELECT coalesce(current_setting('encours.portfolio', true), '') = '')
        OR client_id IN (SELECT c.id FROM clients c))$p$, t);
    END IF;
    -- The migrator works across companies (listing them, checking them): the owner passes, the serving role does not.
    EXECUTE format('CREATE POLICY migrator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
CREATE POLICY portfolio ON clients AS RESTRICTIVE USING (
  (SELECT coalesce(current_setting('encours.portfolio', true), '') = '')
  OR sales_owner_id = (SELECT nullif(current_setting('encours.portfolio', true), '')::uuid));

GRANT USAGE ON SCHEMA public TO encours_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO encours_app;
GRANT INSERT ON users, memberships TO encours_app;
GRANT UPDATE (name, password_hash, disabled_at) ON users TO encours_app;
GRANT UPDATE (role, ended_at) ON memberships TO encours_app;
GRANT UPDATE (name, siren, vat_number, address, segregation, settings) ON companies TO encours_app;
-- Facts: insert only.
GRANT INSERT ON period_closings, idempotency, idempotency_answers, journals, journal_entries, journal_lines, documents,
  document_lines, document_taxes, payments, payment_events, receivable_ledger, dispute_items, dispute_events,
  provision_policies, provision_assessments TO encours_app;
-- Master data, drafts and counters.
GRANT INSERT, UPDATE ON clients, client_contacts, dispute_reasons, counters, letter_counters, imports TO encours_app;
GRANT INSERT, UPDATE, DELETE ON invoice_drafts TO encours_app;
-- Facts with cached columns: only those may change.
GRANT INSERT ON items, matchings, allocations, disputes, deductions TO encours_app;
GRANT UPDATE (open_amount, settled_on, changed_at, matching_id) ON items TO encours_app;
GRANT UPDATE (residual, complete, ended_at) ON matchings TO encours_app;
GRANT UPDATE (ended_on, ended_at, ended_by) ON allocations TO encours_app;
GRANT UPDATE (status, outcome, decided_by, accepted_amount, credit_note_id, closed_on, closed_at, owner_id, respond_by) ON disputes TO encours_app;
GRANT UPDATE (status) ON deductions TO encours_app;
GRANT UPDATE (outcome) ON idempotency TO encours_app;
-- A company is made by the migrator (command line) only.

-- Accounting in depth: sealed entries, exchange lines, opening entries, operations beyond documents,
-- remittance slips, provision runs, doubtful files, late-payment claims, year closings, bank statements.
--
-- Conventions as in the first migration. Nothing of it is rewritten: columns have constant defaults,
-- constraints are widened.

-- ---------------------------------------------------------------- the journal

-- An opening entry (à-nouveau) repeats balances of the year before: it belongs to its year's ledger,
-- and is left out of sums that run over years.
ALTER TABLE journal_lines ADD COLUMN carried boolean NOT NULL DEFAULT false;

-- An exchange difference moves the company's currency alone (section 2.14).
ALTER TABLE journal_lines DROP CONSTRAINT journal_lines_check;
ALTER TABLE journal_lines ADD CONSTRAINT journal_lines_one_side CHECK
  ((debit = 0) <> (credit = 0) OR (debit = 0 AND credit = 0 AND (base_debit = 0) <> (base_credit = 0))) NOT VALID;
ALTER TABLE journal_lines VALIDATE CONSTRAINT journal_lines_one_side;
CREATE INDEX journal_lines_by_client ON journal_lines (company_id, client_id, posted_on) WHERE client_id IS NOT NULL;
CREATE INDEX journal_entries_by_day ON journal_entries (company_id, posted_on, id);

-- The company's own words for accounts of the chart, and accounts it no longer wants.
CREATE TABLE accounts (
  company_id uuid NOT NULL REFERENCES companies,
  number text NOT NULL CHECK (number ~ '^[1-8][0-9]{2,10}$'),
  label text NOT NULL CHECK (label <> ''),
  -- Nothing is posted to it from this day on.
  closed_on date,
  PRIMARY KEY (company_id, number)
);

-- Each entry's seal is the SHA-256 of the seal before it and its own content: a chain per company and year.
CREATE TABLE journal_seals (
  company_id uuid NOT NULL,
  fiscal_year int NOT NULL,
  number bigint NOT NULL,
  entry_id uuid NOT NULL,
  seal bytea NOT NULL CHECK (length(seal) = 32),
  PRIMARY KEY (company_id, fiscal_year, number),
  FOREIGN KEY (company_id, entry_id) REFERENCES journal_entries
);

-- What a seal covers: every stored word of the entry and its lines, in one unambiguous text.
CREATE FUNCTION entry_content(of_company uuid, of_entry uuid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_array(e.id, e.journal, e.fiscal_year, e.number, to_char(e.posted_on, 'YYYYMMDD'), to_char(e.occurred_on, 'YYYYMMDD'),
      e.reference, e.label, e.source_kind, e.source_id, e.reversal_of, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.recorded_by)::text
    || (SELECT jsonb_agg(jsonb_build_array(l.line, l.account, l.client_id, l.debit, l.credit, l.currency, l.base_debit, l.base_credit, l.carried)
          ORDER BY l.line)::text FROM journal_lines l WHERE l.company_id = of_company AND l.entry_id = of_entry)
  FROM journal_entries e WHERE e.company_id = of_company AND e.id = of_entry
$$;
-- What the first entry of a year is chained to.
CREATE FUNCTION chain_origin(of_company uuid, of_year int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(convert_to(of_company::text || ' ' || of_year::text, 'UTF8'))
$$;
-- Seals the entries first to last of a year, in the transaction that posts them and under its counter's lock.
CREATE FUNCTION seal_entries(of_company uuid, of_year int, first bigint, last bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE previous bytea; entry record;
BEGIN
  SELECT s.seal INTO previous FROM journal_seals s WHERE s.company_id = of_company AND s.fiscal_year = of_year AND s.number = first - 1;
  previous := coalesce(previous, chain_origin(of_company, of_year));
  FOR entry IN SELECT e.id, e.number FROM journal_entries e
    WHERE e.company_id = of_company AND e.fiscal_year = of_year AND e.number BETWEEN first AND last ORDER BY e.number
  LOOP
    previous := sha256(previous || convert_to(entry_content(of_company, entry.id), 'UTF8'));
    INSERT INTO journal_seals (company_id, fiscal_year, number, entry_id, seal)
      VALUES (of_company, of_year, entry.number, entry.id, previous);
  END LOOP;
END $$;

-- A locked day stays closed for ever.
ALTER TABLE period_closings ADD COLUMN locked boolean NOT NULL DEFAULT false;

-- A year whose balances were carried forward.
CREATE TABLE year_closings (
  company_id uuid NOT NULL REFERENCES companies,
  fiscal_year int NOT NULL,
  -- Profit positive, loss negative, in the company's currency.
  result bigint NOT NULL,
  entry_id uuid,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, fiscal_year),
  FOREIGN KEY (company_id, entry_id) REFERENCES journal_entries
);

-- ---------------------------------------------------------------- legal values

ALTER TABLE legal_rates DROP CONSTRAINT legal_rates_kind_check;
ALTER TABLE legal_rates ADD CONSTRAINT legal_rates_kind_check CHECK (kind IN ('ECB_REFINANCING', 'LEGAL_INTEREST_PROFESSIONAL',
  'DEFAULT_PENALTY_MARGIN', 'CONTRACT_FLOOR_MULTIPLE', 'RECOVERY_INDEMNITY', 'PUBLIC_PENALTY_MARGIN'));
INSERT INTO legal_rates (kind, valid_from, valid_to, value, unit, source) VALUES
  ('PUBLIC_PENALTY_MARGIN', '2013-05-01', NULL, 8, 'POINTS', 'Commande publique: BCE + 8 points, taux du premier jour du semestre où les intérêts commencent');

-- ---------------------------------------------------------------- documents and items

-- When VAT falls due: on the invoice (débits), or on its receipts (encaissements, R2.4).
ALTER TABLE documents ADD COLUMN vat_due text NOT NULL DEFAULT 'DEBITS' CHECK (vat_due IN ('DEBITS', 'RECEIPTS'));
-- The discount offered for early payment (R2.16) ...
ALTER TABLE documents ADD COLUMN discount_percent numeric(6, 3) CHECK (discount_percent > 0 AND discount_percent < 100);
ALTER TABLE documents ADD COLUMN discount_days smallint CHECK (discount_days BETWEEN 0 AND 365);
ALTER TABLE documents ADD CONSTRAINT documents_discount CHECK ((discount_percent IS NULL) = (discount_days IS NULL));
-- ... and the one taken off on the invoice itself, HT, which stays visible on 665 (R2.17).
ALTER TABLE documents ADD COLUMN deducted_discount bigint NOT NULL DEFAULT 0 CHECK (deducted_discount >= 0);

-- The contractual rate of late-payment interest, percent per year; the legal default when null (R6.5).
ALTER TABLE clients ADD COLUMN penalty_rate numeric(6, 3) CHECK (penalty_rate BETWEEN 0 AND 100);

ALTER TABLE items DROP CONSTRAINT items_family_check;
ALTER TABLE items ADD CONSTRAINT items_family_check CHECK (family IN ('411', '413', '416', '419'));
ALTER TABLE items DROP CONSTRAINT items_kind_check;
ALTER TABLE items ADD CONSTRAINT items_kind_check CHECK (kind IN ('INVOICE', 'CREDIT_NOTE', 'PAYMENT', 'DEDUCTION', 'DEDUCTION_SETTLEMENT',
  'RETURN', 'BILL', 'DEPOSIT', 'PENALTY', 'INDEMNITY', 'WAIVER', 'DISCOUNT', 'DIFFERENCE', 'DOUBTFUL', 'WRITE_OFF', 'ASSIGNMENT', 'RECOURSE',
  'REMITTANCE', 'TRANSFER', 'REVERSAL', 'OPENING', 'IMPORTED'));

CREATE INDEX items_by_entry ON items (company_id, entry_id, entry_line);

ALTER TABLE payments ADD COLUMN purpose text NOT NULL DEFAULT 'RECEIVABLE' CHECK (purpose IN ('RECEIVABLE', 'DEPOSIT'));
-- Of a deposit: the VAT rate it bears, when VAT is due on it.
ALTER TABLE payments ADD COLUMN deposit_vat_rate numeric(6, 3) CHECK (deposit_vat_rate BETWEEN 0 AND 100);
ALTER TABLE payments ADD CONSTRAINT payments_deposit CHECK (purpose = 'DEPOSIT' OR deposit_vat_rate IS NULL);
-- The general account of the bank it arrived on; the account map's when null.
ALTER TABLE payments ADD COLUMN bank_account text CHECK (bank_account ~ '^512[0-9]{0,8}$');

-- What an allocation in a foreign currency takes from each side in the company's currency: their
-- difference is the exchange difference posted with it (section 2.14).
ALTER TABLE allocations ADD COLUMN debit_base bigint;
ALTER TABLE allocations ADD COLUMN credit_base bigint;

-- VAT moved from 4458 to 44571 as an invoice is paid (R2.4); negative when a receipt bounced.
CREATE TABLE vat_moves (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  -- Through receipts; or taken out because it was credited or lost.
  kind text NOT NULL CHECK (kind IN ('RECEIPT', 'CREDIT', 'LOSS')),
  amount bigint NOT NULL CHECK (amount <> 0),
  posted_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents
);
CREATE INDEX vat_moves_by_invoice ON vat_moves (company_id, invoice_id);

-- ---------------------------------------------------------------- operations

-- What happens to receivables beyond documents and receipts (opérations diverses): each posts its entry.
CREATE TABLE operations (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL CHECK (number ~ '^\S.{0,59}$'),
  kind text NOT NULL CHECK (kind IN ('DISCOUNT', 'DIFFERENCE', 'DEPOSIT_USE', 'PENALTY', 'WAIVER', 'DOUBTFUL', 'WRITE_OFF', 'RECOVERY', 'ASSIGNMENT',
    'FACTOR_SETTLEMENT', 'RETENTION_RELEASE', 'FACTOR_DIVERTED', 'RECOURSE', 'ACCRUAL', 'EXCHANGE', 'BILL_MATURITY', 'TRANSFER', 'REVERSAL')),
  client_id uuid,
  invoice_id uuid,
  payment_id uuid,
  -- The operation it follows: the one it reverses, settles or returns.
  follows_id uuid,
  happened_on date NOT NULL,
  -- Gross, positive, with the part net of VAT and the VAT.
  amount bigint NOT NULL CHECK (amount > 0),
  net bigint NOT NULL,
  vat bigint NOT NULL,
  currency char(3) NOT NULL REFERENCES currencies,
  reason text,
  evidence jsonb NOT NULL DEFAULT '[]',
  details jsonb NOT NULL DEFAULT '{}',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents,
  FOREIGN KEY (company_id, payment_id) REFERENCES payments,
  FOREIGN KEY (company_id, follows_id) REFERENCES operations,
  CHECK (net + vat = amount),
  CHECK (kind <> 'REVERSAL' OR follows_id IS NOT NULL)
);
CREATE UNIQUE INDEX operations_reversed_once ON operations (company_id, follows_id) WHERE kind = 'REVERSAL';
CREATE INDEX operations_by_day ON operations (company_id, happened_on, id);
CREATE INDEX operations_by_client ON operations (company_id, client_id, happened_on, id);
CREATE INDEX operations_by_invoice ON operations (company_id, invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX operations_by_follows ON operations (company_id, follows_id) WHERE follows_id IS NOT NULL;

-- Late-payment interest and indemnity claimed for an invoice: the 40 € once each (section 6.6).
CREATE TABLE penalty_claims (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  operation_id uuid NOT NULL,
  client_id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  -- Interest for the days through this one; the next claim goes on from there.
  computed_through date NOT NULL,
  interest bigint NOT NULL CHECK (interest >= 0),
  indemnity bigint NOT NULL CHECK (indemnity >= 0),
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, operation_id) REFERENCES operations,
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents,
  CHECK (interest + indemnity > 0)
);
CREATE INDEX penalty_claims_by_invoice ON penalty_claims (company_id, invoice_id);
CREATE INDEX penalty_claims_by_operation ON penalty_claims (company_id, operation_id);

-- Penalties that will not be claimed: who decided, and why (R6.13).
CREATE TABLE penalty_waivers (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  invoice_id uuid NOT NULL,
  scope text NOT NULL CHECK (scope IN ('INTEREST', 'INDEMNITY', 'BOTH')),
  reason text NOT NULL CHECK (reason <> ''),
  waived_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents
);
CREATE INDEX penalty_waivers_by_invoice ON penalty_waivers (company_id, invoice_id);

-- ---------------------------------------------------------------- remittance slips

-- Cheques or bills handed to the bank together (bordereau de remise).
CREATE TABLE remittances (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('CHEQUES', 'BILLS_FOR_COLLECTION', 'BILLS_FOR_DISCOUNT')),
  bank_account text NOT NULL CHECK (bank_account ~ '^512[0-9]{0,8}$'),
  remitted_on date NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  currency char(3) NOT NULL REFERENCES currencies,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  -- Written once, when the bank has credited it.
  credited_on date,
  received bigint,
  fee_net bigint,
  fee_vat bigint,
  interest bigint,
  credited_at timestamptz,
  credited_by text,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  CHECK ((credited_on IS NULL) = (received IS NULL)),
  -- Less than the amount when an instrument came back before.
  CHECK (credited_on IS NULL OR received + fee_net + fee_vat + interest <= amount)
);
CREATE INDEX remittances_by_day ON remittances (company_id, remitted_on, id);
CREATE TABLE remittance_lines (
  company_id uuid NOT NULL,
  remittance_id uuid NOT NULL,
  payment_id uuid NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  PRIMARY KEY (company_id, remittance_id, payment_id),
  FOREIGN KEY (company_id, remittance_id) REFERENCES remittances,
  FOREIGN KEY (company_id, payment_id) REFERENCES payments
);
-- An instrument is handed in once.
CREATE UNIQUE INDEX remittance_lines_once ON remittance_lines (company_id, payment_id);

-- ---------------------------------------------------------------- doubtful debts

-- A claim that becomes doubtful, or is lost: proposed by one, posted by another (section 12).
CREATE TABLE doubtful_files (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('TRANSFER', 'WRITE_OFF')),
  client_id uuid NOT NULL,
  invoice_id uuid,
  -- Null: everything that is open.
  amount bigint CHECK (amount > 0),
  currency char(3) NOT NULL REFERENCES currencies,
  vat_recovery text NOT NULL DEFAULT 'NONE' CHECK (vat_recovery IN ('NONE', 'LIQUIDATION_JUDGMENT', 'PROVEN_IRRECOVERABLE')),
  reason text NOT NULL CHECK (reason <> ''),
  evidence jsonb NOT NULL CHECK (jsonb_array_length(evidence) > 0),
  happened_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  status text NOT NULL CHECK (status IN ('PROPOSED', 'POSTED', 'REJECTED')),
  decided_at timestamptz,
  decided_by text,
  decision text,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  FOREIGN KEY (company_id, invoice_id) REFERENCES documents,
  CHECK ((status = 'PROPOSED') = (decided_by IS NULL)),
  CHECK (status <> 'REJECTED' OR decision <> '')
);
CREATE INDEX doubtful_files_by_client ON doubtful_files (company_id, client_id, id);
CREATE INDEX doubtful_files_by_status ON doubtful_files (company_id, status, id);
ALTER TABLE operations ADD COLUMN file_id uuid;
ALTER TABLE operations ADD FOREIGN KEY (company_id, file_id) REFERENCES doubtful_files;
CREATE INDEX operations_by_file ON operations (company_id, file_id) WHERE file_id IS NOT NULL;

-- The rectified invoice that recovers the VAT of a loss (R2.21): wording and amounts as issued.
CREATE TABLE rectified_invoices (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  number text NOT NULL,
  operation_id uuid NOT NULL,
  client_id uuid NOT NULL,
  issued_on date NOT NULL,
  content jsonb NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number),
  UNIQUE (company_id, operation_id),
  FOREIGN KEY (company_id, operation_id) REFERENCES operations,
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);

-- A provision run: its lines are what was computed when it was proposed, and never change.
CREATE TABLE provision_runs (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  number text NOT NULL,
  as_of date NOT NULL,
  policy_name text,
  policy_version int,
  content jsonb NOT NULL,
  currency char(3) NOT NULL REFERENCES currencies,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  status text NOT NULL CHECK (status IN ('PROPOSED', 'APPROVED', 'REJECTED', 'POSTED', 'CANCELLED')),
  approved_at timestamptz,
  approved_by text,
  decision text,
  posted_at timestamptz,
  posted_by text,
  posted_on date,
  cancelled_at timestamptz,
  cancelled_by text,
  cancelled_on date,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, number)
);
CREATE INDEX provision_runs_by_day ON provision_runs (company_id, as_of, id);
CREATE TABLE provision_run_clients (
  company_id uuid NOT NULL,
  run_id uuid NOT NULL,
  client_id uuid NOT NULL,
  -- In the company's currency.
  required bigint NOT NULL CHECK (required >= 0),
  previous bigint NOT NULL,
  charge bigint NOT NULL CHECK (charge >= 0),
  release bigint NOT NULL CHECK (release >= 0),
  PRIMARY KEY (company_id, run_id, client_id),
  FOREIGN KEY (company_id, run_id) REFERENCES provision_runs,
  FOREIGN KEY (company_id, client_id) REFERENCES clients,
  CHECK (charge = 0 OR release = 0),
  CHECK (required = previous + charge - release)
);
CREATE TABLE provision_run_lines (
  company_id uuid NOT NULL,
  run_id uuid NOT NULL,
  item_id uuid NOT NULL,
  client_id uuid NOT NULL,
  reference text NOT NULL,
  due_on date NOT NULL,
  open bigint NOT NULL,
  exposure bigint NOT NULL,
  base bigint NOT NULL,
  insured bigint NOT NULL,
  disputed_base bigint NOT NULL,
  rate numeric(7, 4) NOT NULL,
  disputed_rate numeric(7, 4) NOT NULL,
  provision bigint NOT NULL CHECK (provision >= 0),
  method text NOT NULL,
  -- Tax deductibility of the line (R5.4).
  deductible boolean NOT NULL,
  currency char(3) NOT NULL REFERENCES currencies,
  PRIMARY KEY (company_id, run_id, item_id),
  FOREIGN KEY (company_id, run_id) REFERENCES provision_runs,
  FOREIGN KEY (company_id, item_id) REFERENCES items,
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
-- Every movement of a client's provision, in the company's currency: account 491 is their sum (R5.10).
CREATE TABLE provision_movements (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  client_id uuid NOT NULL,
  amount bigint NOT NULL CHECK (amount <> 0),
  kind text NOT NULL CHECK (kind IN ('OPENING', 'RUN', 'CANCELLATION', 'LOSS', 'REVERSAL')),
  -- The run or the loss behind it.
  source_id uuid NOT NULL,
  -- The claim it belongs to, where one is named.
  item_id uuid,
  posted_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
CREATE INDEX provision_movements_by_client ON provision_movements (company_id, client_id, posted_on);
CREATE INDEX provision_movements_by_source ON provision_movements (company_id, source_id);

-- ---------------------------------------------------------------- banks

CREATE TABLE bank_accounts (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  label text NOT NULL CHECK (label <> ''),
  -- As statements name it: an IBAN, or the bank's own number.
  iban text NOT NULL CHECK (iban ~ '^[A-Z0-9]{5,34}$'),
  bic text,
  account text NOT NULL CHECK (account ~ '^512[0-9]{0,8}$'),
  journal text NOT NULL DEFAULT 'BQ',
  currency char(3) NOT NULL REFERENCES currencies,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, iban, currency),
  FOREIGN KEY (company_id, journal) REFERENCES journals
);

CREATE TABLE bank_statements (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  bank_account_id uuid NOT NULL,
  format text NOT NULL CHECK (format IN ('CAMT053', 'CAMT054', 'CFONB120')),
  reference text NOT NULL,
  sequence bigint,
  from_on date,
  to_on date,
  -- Signed: negative when overdrawn. Null for notifications.
  opening bigint,
  closing bigint,
  currency char(3) NOT NULL REFERENCES currencies,
  file_name text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, bank_account_id, format, reference),
  FOREIGN KEY (company_id, bank_account_id) REFERENCES bank_accounts
);
CREATE INDEX bank_statements_by_day ON bank_statements (company_id, bank_account_id, to_on);

CREATE TABLE bank_lines (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  statement_id uuid NOT NULL,
  bank_account_id uuid NOT NULL,
  position int NOT NULL,
  -- What makes an import repeatable (R13.2).
  fingerprint text NOT NULL,
  booked_on date NOT NULL,
  value_on date,
  -- Signed: money in is positive.
  amount bigint NOT NULL CHECK (amount <> 0),
  currency char(3) NOT NULL REFERENCES currencies,
  counterparty text,
  counterparty_iban text,
  end_to_end_id text,
  servicer_ref text,
  structured text[] NOT NULL DEFAULT '{}',
  remittance text NOT NULL DEFAULT '',
  return_reason text,
  family text,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  -- Cached: where the line stands, and the receipt it became.
  status text NOT NULL CHECK (status IN ('AUTOMATIC', 'PROPOSED', 'ON_ACCOUNT', 'UNKNOWN', 'RETURNED', 'POSTED', 'IGNORED', 'UNDONE')),
  payment_id uuid,
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, bank_account_id, fingerprint),
  FOREIGN KEY (company_id, statement_id) REFERENCES bank_statements,
  FOREIGN KEY (company_id, bank_account_id) REFERENCES bank_accounts,
  FOREIGN KEY (company_id, payment_id) REFERENCES payments
);
CREATE INDEX bank_lines_by_day ON bank_lines (company_id, booked_on, id);
CREATE INDEX bank_lines_by_status ON bank_lines (company_id, status, booked_on, id);
CREATE INDEX bank_lines_by_statement ON bank_lines (company_id, statement_id, position);
CREATE INDEX bank_lines_by_end_to_end ON bank_lines (company_id, end_to_end_id) WHERE end_to_end_id IS NOT NULL;
CREATE INDEX bank_lines_by_servicer ON bank_lines (company_id, servicer_ref) WHERE servicer_ref IS NOT NULL;

-- Every decision about a bank line, automatic or by hand, for ever (R13.1).
CREATE TABLE bank_matches (
  company_id uuid NOT NULL,
  id uuid NOT NULL,
  line_id uuid NOT NULL,
  -- Number of the rule in 13.2; 0 by hand.
  rule smallint NOT NULL,
  -- 0 to 100.
  score smallint NOT NULL CHECK (score BETWEEN 0 AND 100),
  outcome text NOT NULL CHECK (outcome IN ('AUTOMATIC', 'PROPOSED', 'ACCEPTED', 'REJECTED', 'ON_ACCOUNT', 'UNKNOWN', 'RETURNED', 'POSTED', 'IGNORED', 'UNDONE')),
  client_id uuid,
  evidence text NOT NULL,
  -- What it pays: item, amount; and what else it could have been.
  allocations jsonb NOT NULL DEFAULT '[]',
  alternatives jsonb NOT NULL DEFAULT '[]',
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  PRIMARY KEY (company_id, id),
  FOREIGN KEY (company_id, line_id) REFERENCES bank_lines
);
CREATE INDEX bank_matches_by_line ON bank_matches (company_id, line_id, id);

-- Whose account a payer's IBAN is: one payer may pay for several clients (R13.4).
CREATE TABLE payer_accounts (
  company_id uuid NOT NULL,
  iban text NOT NULL CHECK (iban ~ '^[A-Z0-9]{5,34}$'),
  client_id uuid NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  recorded_by text NOT NULL,
  removed_at timestamptz,
  PRIMARY KEY (company_id, iban, client_id),
  FOREIGN KEY (company_id, client_id) REFERENCES clients
);
CREATE INDEX payer_accounts_by_client ON payer_accounts (company_id, client_id);

-- Something that a person has to look at.
CREATE TABLE tasks (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('UNKNOWN_RECEIPT', 'BANK_PROPOSAL', 'UNMATCHED_RETURN')),
  subject text NOT NULL,
  -- The record concerned.
  source_id uuid NOT NULL,
  due_on date NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  done_at timestamptz,
  done_by text,
  PRIMARY KEY (company_id, id),
  CHECK ((done_at IS NULL) = (done_by IS NULL))
);
CREATE INDEX tasks_open ON tasks (company_id, due_on, id) WHERE done_at IS NULL;
CREATE INDEX tasks_by_source ON tasks (company_id, source_id);

-- ---------------------------------------------------------------- the wall

DO $$
DECLARE t text; has_client boolean;
BEGIN
  FOREACH t IN ARRAY ARRAY['accounts', 'journal_seals', 'year_closings', 'vat_moves', 'operations', 'penalty_claims', 'penalty_waivers',
    'remittances', 'remittance_lines', 'doubtful_files', 'rectified_invoices', 'provision_runs', 'provision_run_clients', 'provision_run_lines',
    'provision_movements', 'bank_accounts', 'bank_statements', 'bank_lines', 'bank_matches', 'payer_accounts', 'tasks']
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

GRANT SELECT ON accounts, journal_seals, year_closings, vat_moves, operations, penalty_claims, penalty_waivers, remittances, remittance_lines,
  doubtful_files, rectified_invoices, provision_runs, provision_run_clients, provision_run_lines, provision_movements, bank_accounts,
  bank_statements, bank_lines, bank_matches, payer_accounts, tasks TO encours_app;
-- Facts: insert only.
GRANT INSERT ON journal_seals, year_closings, vat_moves, operations, penalty_claims, penalty_waivers, remittance_lines, rectified_invoices,
  provision_run_clients, provision_run_lines, provision_movements, bank_statements, bank_matches TO encours_app;
-- Master data.
GRANT INSERT, UPDATE ON accounts, bank_accounts, payer_accounts TO encours_app;
GRANT UPDATE (label) ON journals TO encours_app;
-- Facts whose state moves on: only that may change.
GRANT INSERT ON remittances, doubtful_files, provision_runs, bank_lines, tasks TO encours_app;
GRANT UPDATE (credited_on, received, fee_net, fee_vat, interest, credited_at, credited_by) ON remittances TO encours_app;
GRANT UPDATE (status, decided_at, decided_by, decision) ON doubtful_files TO encours_app;
GRANT UPDATE (status, approved_at, approved_by, decision, posted_at, posted_by, posted_on, cancelled_at, cancelled_by, cancelled_on) ON provision_runs TO encours_app;
GRANT UPDATE (status, payment_id) ON bank_lines TO encours_app;
GRANT UPDATE (done_at, done_by) ON tasks TO encours_app;

-- ---------------------------------------------------------------- what was there before

-- Entries posted before they were sealed get their place in the chain; provisions taken over, their movement.
DO $$
DECLARE chain record;
BEGIN
  FOR chain IN SELECT company_id, fiscal_year, max(number) AS last FROM journal_entries GROUP BY company_id, fiscal_year LOOP
    PERFORM seal_entries(chain.company_id, chain.fiscal_year, 1, chain.last);
  END LOOP;
END $$;
INSERT INTO provision_movements (company_id, id, client_id, amount, kind, source_id, posted_on, recorded_at, recorded_by)
SELECT l.company_id, l.entry_id, l.client_id, l.base_credit - l.base_debit, 'OPENING', e.source_id, l.posted_on, l.recorded_at, e.recorded_by
FROM journal_lines l JOIN journal_entries e ON e.company_id = l.company_id AND e.id = l.entry_id
WHERE l.account LIKE '491%' AND l.client_id IS NOT NULL AND l.base_credit <> l.base_debit;

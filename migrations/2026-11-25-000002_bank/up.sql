-- Bank statements matched with what is owed (section 13).

-- A receipt that was recorded in error is reversed (R2.2); it did not come back unpaid.
ALTER TABLE payment_events DROP CONSTRAINT payment_events_kind_check;
ALTER TABLE payment_events ADD CONSTRAINT payment_events_kind_check CHECK (kind IN ('IDENTIFIED', 'RETURNED', 'REVERSED'));

-- A document number as payers write it: without blanks, hyphens and the like ...
CREATE FUNCTION reference_key(number text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT upper(regexp_replace(number, '[^A-Za-z0-9]', '', 'g'))
$$;
-- ... and in runs of letters and of digits, these without leading zeros: FA-2026-000012 is FA/2026/12.
CREATE FUNCTION reference_runs(number text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT regexp_replace(regexp_replace(regexp_replace(trim(both '/' from upper(regexp_replace(number, '[^A-Za-z0-9]+', '/', 'g'))),
    '([A-Z])([0-9])', '\1/\2', 'g'), '([0-9])([A-Z])', '\1/\2', 'g'), '(^|/)0+([0-9])', '\1\2', 'g')
$$;
-- A name as banks write it: upper case, no accents, no signs, without the legal form.
CREATE FUNCTION name_key(name text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT regexp_replace(regexp_replace(' ' || regexp_replace(upper(translate(
    replace(replace(replace(replace(name, 'œ', 'oe'), 'Œ', 'OE'), 'æ', 'ae'), 'Æ', 'AE'),
    'àâäáãåçéèêëíîïìñóôöòõúùûüýÿÀÂÄÁÃÅÇÉÈÊËÍÎÏÌÑÓÔÖÒÕÚÙÛÜÝŸ', 'aaaaaaceeeeiiiinooooouuuuyyAAAAAACEEEEIIIINOOOOOUUUUYY')), '[^A-Z0-9]+', ' ', 'g') || ' ',
    ' (SARL|SAS|SASU|SA|EURL|SNC|SCI|SELARL|SCOP|STE|SOCIETE|ETS|MME|MLLE|MR)(?= )', '', 'g'), ' ', '', 'g')
$$;
CREATE INDEX items_by_reference_key ON items (company_id, reference_key(reference)) WHERE open_amount > 0;
CREATE INDEX items_by_reference_runs ON items (company_id, reference_runs(reference)) WHERE open_amount > 0;
CREATE INDEX clients_by_name_key ON clients (company_id, name_key(name));

-- The booking that a payment of a batch belongs to: a notification may tell apart what the statement does not.
ALTER TABLE bank_lines ADD COLUMN entry_ref text;
CREATE INDEX bank_lines_by_entry ON bank_lines (company_id, bank_account_id, entry_ref) WHERE entry_ref IS NOT NULL;
CREATE INDEX bank_lines_by_payment ON bank_lines (company_id, payment_id) WHERE payment_id IS NOT NULL;
CREATE UNIQUE INDEX tasks_once ON tasks (company_id, source_id, kind) WHERE done_at IS NULL;

-- What a match did beside the receipt: operations that are reversed when it is undone.
ALTER TABLE bank_matches ADD COLUMN operations jsonb NOT NULL DEFAULT '[]';

-- A movement on a bank account that no receipt explains: the bank's charge, or money back whose receipt is not found.
ALTER TABLE operations DROP CONSTRAINT operations_kind_check;
ALTER TABLE operations ADD CONSTRAINT operations_kind_check CHECK (kind IN ('DISCOUNT', 'DIFFERENCE', 'DEPOSIT_USE', 'PENALTY', 'WAIVER', 'DOUBTFUL',
  'WRITE_OFF', 'RECOVERY', 'ASSIGNMENT', 'FACTOR_SETTLEMENT', 'RETENTION_RELEASE', 'FACTOR_DIVERTED', 'RECOURSE', 'ACCRUAL', 'EXCHANGE',
  'BILL_MATURITY', 'TRANSFER', 'REVERSAL', 'BANK_MOVEMENT'));

-- Matched by a person, or a proposal that a person accepted.
ALTER TABLE bank_lines DROP CONSTRAINT bank_lines_status_check;
ALTER TABLE bank_lines ADD CONSTRAINT bank_lines_status_check CHECK (status IN ('AUTOMATIC', 'MATCHED', 'PROPOSED', 'ON_ACCOUNT', 'UNKNOWN', 'RETURNED', 'POSTED', 'IGNORED', 'UNDONE'));

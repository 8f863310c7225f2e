-- Refuses when lines were matched by hand: their state has no other form.
ALTER TABLE bank_lines DROP CONSTRAINT bank_lines_status_check;
ALTER TABLE bank_lines ADD CONSTRAINT bank_lines_status_check CHECK (status IN ('AUTOMATIC', 'PROPOSED', 'ON_ACCOUNT', 'UNKNOWN', 'RETURNED', 'POSTED', 'IGNORED', 'UNDONE'));
-- Refuses when such operations were recorded: their history has no other form.
ALTER TABLE operations DROP CONSTRAINT operations_kind_check;
ALTER TABLE operations ADD CONSTRAINT operations_kind_check CHECK (kind IN ('DISCOUNT', 'DIFFERENCE', 'DEPOSIT_USE', 'PENALTY', 'WAIVER', 'DOUBTFUL',
  'WRITE_OFF', 'RECOVERY', 'ASSIGNMENT', 'FACTOR_SETTLEMENT', 'RETENTION_RELEASE', 'FACTOR_DIVERTED', 'RECOURSE', 'ACCRUAL', 'EXCHANGE',
  'BILL_MATURITY', 'TRANSFER', 'REVERSAL'));
ALTER TABLE bank_matches DROP COLUMN operations;
DROP INDEX tasks_once, bank_lines_by_payment, bank_lines_by_entry, clients_by_name_key, items_by_reference_runs, items_by_reference_key;
ALTER TABLE bank_lines DROP COLUMN entry_ref;
DROP FUNCTION name_key(text), reference_runs(text), reference_key(text);
-- Refuses when receipts were reversed: their history has no other form.
ALTER TABLE payment_events DROP CONSTRAINT payment_events_kind_check;
ALTER TABLE payment_events ADD CONSTRAINT payment_events_kind_check CHECK (kind IN ('IDENTIFIED', 'RETURNED'));

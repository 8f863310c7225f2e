ALTER TABLE bank_matches DROP CONSTRAINT bank_matches_outcome_check;
ALTER TABLE bank_matches ADD CONSTRAINT bank_matches_outcome_check CHECK (outcome IN ('AUTOMATIC', 'PROPOSED', 'ACCEPTED', 'REJECTED', 'ON_ACCOUNT', 'UNKNOWN',
  'RETURNED', 'POSTED', 'IGNORED', 'UNDONE'));
ALTER TABLE bank_lines DROP CONSTRAINT bank_lines_status_check;
ALTER TABLE bank_lines ADD CONSTRAINT bank_lines_status_check CHECK (status IN ('AUTOMATIC', 'MATCHED', 'PROPOSED', 'ON_ACCOUNT', 'UNKNOWN', 'RETURNED',
  'POSTED', 'IGNORED', 'UNDONE'));
ALTER TABLE bank_lines DROP COLUMN entry_id, DROP COLUMN entry_line;

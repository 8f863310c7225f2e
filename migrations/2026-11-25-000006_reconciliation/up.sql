-- Rapprochement: a movement that the books hold already is tied to the line of its entry, not booked again.
ALTER TABLE bank_lines ADD COLUMN entry_id uuid, ADD COLUMN entry_line smallint,
  ADD CONSTRAINT bank_lines_entry FOREIGN KEY (company_id, entry_id, entry_line) REFERENCES journal_lines (company_id, entry_id, line),
  ADD CONSTRAINT bank_lines_tied CHECK ((entry_id IS NOT NULL) = (status = 'RECONCILED') AND (entry_id IS NULL) = (entry_line IS NULL));
ALTER TABLE bank_lines DROP CONSTRAINT bank_lines_status_check;
ALTER TABLE bank_lines ADD CONSTRAINT bank_lines_status_check CHECK (status IN ('AUTOMATIC', 'MATCHED', 'PROPOSED', 'ON_ACCOUNT', 'UNKNOWN', 'RETURNED',
  'POSTED', 'IGNORED', 'UNDONE', 'RECONCILED'));
CREATE UNIQUE INDEX bank_lines_one_entry ON bank_lines (company_id, entry_id, entry_line) WHERE entry_id IS NOT NULL;
ALTER TABLE bank_matches DROP CONSTRAINT bank_matches_outcome_check;
ALTER TABLE bank_matches ADD CONSTRAINT bank_matches_outcome_check CHECK (outcome IN ('AUTOMATIC', 'PROPOSED', 'ACCEPTED', 'REJECTED', 'ON_ACCOUNT', 'UNKNOWN',
  'RETURNED', 'POSTED', 'IGNORED', 'UNDONE', 'RECONCILED'));
GRANT UPDATE (entry_id, entry_line) ON bank_lines TO encours_app;

-- Search keys as columns: behind row-level security an index serves a comparison of a column, not one of
-- an expression whose functions could leak what they are given.
ALTER TABLE items ADD COLUMN ref_key text GENERATED ALWAYS AS (reference_key(reference)) STORED,
  ADD COLUMN ref_runs text GENERATED ALWAYS AS (reference_runs(reference)) STORED;
ALTER TABLE clients ADD COLUMN name_key text GENERATED ALWAYS AS (name_key(name)) STORED;
DROP INDEX items_by_reference_key, items_by_reference_runs, clients_by_name_key;
CREATE INDEX items_by_ref_key ON items (company_id, ref_key);
CREATE INDEX items_by_ref_runs ON items (company_id, ref_runs);
CREATE INDEX clients_by_name_key ON clients (company_id, name_key);

-- Lists of the journal by journal or reference, and pages of the ledger by day.
CREATE INDEX journal_entries_by_journal ON journal_entries (company_id, journal, posted_on, id);
CREATE INDEX journal_entries_by_reference ON journal_entries (company_id, reference);
CREATE INDEX journal_lines_by_day ON journal_lines (company_id, posted_on, entry_id, line);

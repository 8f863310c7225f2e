DROP INDEX journal_lines_by_day, journal_entries_by_reference, journal_entries_by_journal, clients_by_name_key, items_by_ref_runs, items_by_ref_key;
ALTER TABLE clients DROP COLUMN name_key;
ALTER TABLE items DROP COLUMN ref_runs, DROP COLUMN ref_key;
CREATE INDEX items_by_reference_key ON items (company_id, reference_key(reference)) WHERE open_amount > 0;
CREATE INDEX items_by_reference_runs ON items (company_id, reference_runs(reference)) WHERE open_amount > 0;
CREATE INDEX clients_by_name_key ON clients (company_id, name_key(name));

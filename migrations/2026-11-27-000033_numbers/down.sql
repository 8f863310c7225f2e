CREATE INDEX items_by_reference ON items (company_id, reference);
CREATE INDEX items_by_number_key ON items (company_id, ref_key) WHERE is_debit OR kind <> 'PAYMENT';
CREATE INDEX items_by_number_runs ON items (company_id, ref_runs) WHERE is_debit OR kind <> 'PAYMENT';
CREATE INDEX items_of_invoice ON items (company_id, invoice_id) WHERE invoice_id IS NOT NULL;
DROP INDEX items_following, items_by_own_runs, items_by_own_key, items_by_own_reference, documents_by_number_runs, documents_by_number_key;
ALTER TABLE documents DROP COLUMN number_runs, DROP COLUMN number_key;

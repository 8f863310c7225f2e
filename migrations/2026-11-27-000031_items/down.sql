CREATE INDEX items_by_invoice ON items (company_id, invoice_id);
CREATE INDEX items_by_ref_key ON items (company_id, ref_key);
CREATE INDEX items_by_ref_runs ON items (company_id, ref_runs);
DROP INDEX items_of_invoice, items_by_number_key, items_by_number_runs;

-- An item is written again with each part that settles it, and each time it goes into all its indexes. The item of an invoice
-- or of a receipt bears the number of its document and is found through it; documents are written once.
-- The keys of numbers are columns, as those of items: behind row-level security no index serves an expression.
-- lock-rule constant-default: they follow from the number of each row, and two million rows are written anew in some seconds, once
ALTER TABLE documents ADD COLUMN number_key text GENERATED ALWAYS AS (reference_key(number)) STORED,
  ADD COLUMN number_runs text GENERATED ALWAYS AS (reference_runs(number)) STORED;
-- lock-rule index-concurrently: all change places in one transaction; writers wait some seconds for two million invoices, once
CREATE INDEX documents_by_number_key ON documents (company_id, number_key) WHERE kind = 'INVOICE';
-- lock-rule index-concurrently: in the same transaction as the one before
CREATE INDEX documents_by_number_runs ON documents (company_id, number_runs) WHERE kind = 'INVOICE';

-- lock-rule index-concurrently: few items are of another kind, and finding them takes a second or two
CREATE INDEX items_by_own_reference ON items (company_id, reference) WHERE kind NOT IN ('INVOICE', 'PAYMENT');
-- lock-rule index-concurrently: in the same transaction as the one before
CREATE INDEX items_by_own_key ON items (company_id, ref_key) WHERE kind NOT IN ('INVOICE', 'PAYMENT');
-- lock-rule index-concurrently: in the same transaction as the one before
CREATE INDEX items_by_own_runs ON items (company_id, ref_runs) WHERE kind NOT IN ('INVOICE', 'PAYMENT');
-- The items of an invoice are those of its document and, here, those that follow it.
-- lock-rule index-concurrently: in the same transaction as the one before
CREATE INDEX items_following ON items (company_id, invoice_id) WHERE kind NOT IN ('INVOICE', 'PAYMENT');
-- lock-rule index-concurrently: the table is locked by the statements before, and this takes no time
DROP INDEX items_by_reference, items_by_number_key, items_by_number_runs, items_of_invoice;

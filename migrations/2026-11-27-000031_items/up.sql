-- Each change of an item goes into all its indexes, since what changes of it is part of some. Receipts are found neither by
-- the keys of their numbers nor by an invoice.
-- lock-rule index-concurrently: all change places in one transaction; writers wait some seconds for three million items, once
CREATE INDEX items_of_invoice ON items (company_id, invoice_id) WHERE invoice_id IS NOT NULL;
-- lock-rule index-concurrently: in the same transaction as the one before
CREATE INDEX items_by_number_key ON items (company_id, ref_key) WHERE is_debit OR kind <> 'PAYMENT';
-- lock-rule index-concurrently: in the same transaction as the one before
CREATE INDEX items_by_number_runs ON items (company_id, ref_runs) WHERE is_debit OR kind <> 'PAYMENT';
-- lock-rule index-concurrently: the table is locked by the statements before, and this takes no time
DROP INDEX items_by_invoice, items_by_ref_key, items_by_ref_runs;

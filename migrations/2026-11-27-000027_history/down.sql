CREATE INDEX receivable_ledger_by_item ON receivable_ledger (company_id, item_id) INCLUDE (effective_on, recorded_at, delta);
DROP INDEX receivable_ledger_of_item;

DROP FUNCTION rebase_ledger();

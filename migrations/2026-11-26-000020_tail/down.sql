DROP FUNCTION clients_touched(uuid, xid8, bigint);
DROP FUNCTION ledger_tail(uuid, xid8, bigint);
DROP FUNCTION rebase_ledger();

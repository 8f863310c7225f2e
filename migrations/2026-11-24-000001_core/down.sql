DROP TABLE IF EXISTS imports, provision_assessments, provision_policies, dispute_events, dispute_items, disputes, deductions,
  receivable_ledger, allocations, letter_counters, matchings, items, payment_events, payments, document_taxes,
  document_lines, documents, invoice_drafts, journal_lines, journal_entries, journals, dispute_reasons, client_contacts,
  clients, idempotency_answers, idempotency, counters, period_closings, companies, memberships, users, legal_rates,
  currencies CASCADE;
DROP FUNCTION IF EXISTS check_entry_balance();

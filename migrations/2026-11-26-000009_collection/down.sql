DROP TABLE prescription_interruptions, litigation_events, litigation_items, litigation_cases;
DROP FUNCTION plan_paid(instalment_plans, date);
DROP FUNCTION plan_wanted(instalment_plans, date);
DROP TABLE plan_items, instalments, instalment_plans, collection_notes, dunning_proofs, dunning_run_lines, dunning_runs, outbox_files, outbox,
  letter_templates, evidence_seals, files;
ALTER TABLE tasks DROP COLUMN client_id;
DELETE FROM tasks WHERE kind NOT IN ('UNKNOWN_RECEIPT', 'BANK_PROPOSAL', 'UNMATCHED_RETURN');
ALTER TABLE tasks DROP CONSTRAINT tasks_kind_check;
ALTER TABLE tasks ADD CHECK (kind IN ('UNKNOWN_RECEIPT', 'BANK_PROPOSAL', 'UNMATCHED_RETURN'));
DROP INDEX disputes_by_deadline;
ALTER TABLE disputes DROP COLUMN reopens_id;
ALTER TABLE clients DROP COLUMN insolvency_published_on;
ALTER TABLE clients DROP COLUMN language;

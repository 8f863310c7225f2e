ALTER TABLE allocations DROP COLUMN ended_reason;
ALTER TABLE documents DROP COLUMN reason;
DROP TABLE import_refusals;
DELETE FROM audited WHERE table_name = 'import_refusals';

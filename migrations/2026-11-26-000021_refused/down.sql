DROP TABLE import_refusals;
DELETE FROM audited WHERE table_name = 'import_refusals';

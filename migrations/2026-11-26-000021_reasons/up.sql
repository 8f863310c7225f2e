-- Rows of an imported file that were left out: the same file again tries them again, and only them. By their place among
-- the rows, from 1: lines are counted by what ends them, and two rows may stand on one.
CREATE TABLE import_refusals (
  company_id uuid NOT NULL,
  file_hash text NOT NULL,
  kind text NOT NULL,
  place bigint NOT NULL CHECK (place > 0),
  PRIMARY KEY (company_id, file_hash, kind, place),
  FOREIGN KEY (company_id, file_hash, kind) REFERENCES imports
);
ALTER TABLE import_refusals ENABLE ROW LEVEL SECURITY;
ALTER TABLE import_refusals FORCE ROW LEVEL SECURITY;
CREATE POLICY company ON import_refusals USING (company_id = (SELECT nullif(current_setting('encours.company', true), '')::uuid));
CREATE POLICY migrator ON import_refusals TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON import_refusals TO encours_app;
SELECT audit('import_refusals', 'IMPORT_REFUSAL', 'NONE', '{}', 'what is still to be imported; what was imported is told');

-- Why: what French practice calls the motif of an avoir, and that of a délettrage. An auditor asks for both.
ALTER TABLE documents ADD COLUMN reason text;
ALTER TABLE allocations ADD COLUMN ended_reason text;
GRANT UPDATE (ended_reason) ON allocations TO encours_app;

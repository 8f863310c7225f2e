-- An import books the rows of its file in lanes, side by side: each has a mark of its own, the place up to which its rows are
-- done. All rows of a client are of one lane, by their number; files begun before have the same mark in all.
CREATE TABLE import_lanes (
  company_id uuid NOT NULL,
  file_hash text NOT NULL,
  kind text NOT NULL,
  lane smallint NOT NULL CHECK (lane >= 0),
  done_through bigint NOT NULL CHECK (done_through >= 0),
  PRIMARY KEY (company_id, file_hash, kind, lane),
  FOREIGN KEY (company_id, file_hash, kind) REFERENCES imports
);
ALTER TABLE import_lanes ENABLE ROW LEVEL SECURITY;
ALTER TABLE import_lanes FORCE ROW LEVEL SECURITY;
CREATE POLICY company ON import_lanes USING (company_id = (SELECT nullif(current_setting('encours.company', true), '')::uuid));
CREATE POLICY migrator ON import_lanes TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON import_lanes TO encours_app;
GRANT UPDATE (done_through) ON import_lanes TO encours_app;
SELECT audit('import_lanes', 'IMPORT_LANE', 'NONE', '{}', 'how far a file has been read; what was imported is told');

-- Entries are numbered last, so that whoever else posts waits for as little as possible: an import writes the items of an entry
-- before its lines, and has their key looked at when it commits.
ALTER TABLE items ALTER CONSTRAINT items_company_id_entry_id_entry_line_fkey DEFERRABLE INITIALLY IMMEDIATE;

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

-- A binary that knows one mark for all rows comes to rows again that a lane ahead of the others has left out.
CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM import_refusals r WHERE r.company_id = NEW.company_id AND r.file_hash = NEW.file_hash
      AND r.kind = NEW.kind AND r.place = NEW.place) THEN
    RETURN NULL;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse_once BEFORE INSERT ON import_refusals FOR EACH ROW EXECUTE FUNCTION refuse_once();

-- Entries are numbered last, so that whoever else posts waits for as little as possible: an import writes the items of an entry
-- before its lines, and has their key looked at when it commits.
ALTER TABLE items ALTER CONSTRAINT items_company_id_entry_id_entry_line_fkey DEFERRABLE INITIALLY IMMEDIATE;

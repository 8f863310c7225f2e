-- Entries of the new kinds would lose their meaning: a database that holds accounts is not taken back.
DO $$ BEGIN RAISE EXCEPTION 'this migration is not taken back: restore a backup from before it'; END $$;

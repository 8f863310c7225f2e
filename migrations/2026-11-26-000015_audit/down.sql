DO $$
DECLARE t text;
BEGIN
  FOR t IN SELECT table_name FROM audited WHERE mode <> 'NONE' LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS audit_insert ON %I', t);
    EXECUTE format('DROP TRIGGER audit_update ON %I', t);
    EXECUTE format('DROP TRIGGER audit_delete ON %I', t);
    EXECUTE format('DROP FUNCTION %I()', 'audit_of_' || t);
  END LOOP;
END $$;
DROP FUNCTION purge_personal_data(uuid, uuid, date, date, date, date, date, date);
DROP FUNCTION erase_member(uuid, uuid, uuid);
DROP FUNCTION erase_client(uuid, uuid, uuid, date, date);
DROP FUNCTION erase_contact(uuid, uuid, uuid);
DROP FUNCTION erase_images(uuid, text, text, text[], uuid);
DROP FUNCTION known_values(uuid, text, text, text[]);
DROP FUNCTION erase_values(uuid, uuid, text[], uuid);
DROP FUNCTION inside_wall(uuid);
DROP FUNCTION values_pattern(text[]);
DROP FUNCTION audit_scrubbed(jsonb, text[], text);
DROP FUNCTION rebase_audit();
DROP FUNCTION verify_audit(uuid, bigint);
DROP FUNCTION seal_audit_now(uuid, int);
DROP FUNCTION seal_audit(uuid, int, xid8);
DROP FUNCTION audit_origin(uuid);
DROP AGGREGATE audit_chained(bytea, bytea, bytea, bytea);
DROP FUNCTION audit_link(bytea, bytea, bytea, bytea, bytea);
DROP FUNCTION audit_what(audit_entries);
DROP FUNCTION audit_who(audit_entries);
DROP FUNCTION audit_head(audit_entries);
DROP FUNCTION audit_original(uuid, text, text);
DROP FUNCTION audit_event(uuid, text, text, text, uuid, jsonb);
DROP FUNCTION audit_the_rest();
DROP FUNCTION audit(text, text, text, text[], text);
DROP FUNCTION audit_updates(text);
DROP FUNCTION audit_image(jsonb);
DROP FUNCTION audit_masked(text, jsonb);
DROP TABLE legal_archive, erasures, audited, audit_chains, audit_seals, audit_entries;

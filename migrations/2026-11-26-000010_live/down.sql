DROP FUNCTION rebase_changes();
DROP TABLE webhook_deliveries, webhooks;
DROP FUNCTION company_ids();
DO $$
DECLARE t text;
BEGIN
  FOR t IN SELECT event_object_table FROM information_schema.triggers
           WHERE trigger_schema = current_schema() AND trigger_name = 'changes_added'
  LOOP
    EXECUTE format('DROP TRIGGER changes_added ON %I', t);
    EXECUTE format('DROP TRIGGER changes_changed ON %I', t);
    EXECUTE format('DROP FUNCTION %I()', 'changes_of_' || t);
  END LOOP;
END $$;
DROP FUNCTION watch(text, text, text, text, text, text, text);
DROP TABLE changes;

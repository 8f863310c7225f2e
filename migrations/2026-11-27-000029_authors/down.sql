CREATE OR REPLACE FUNCTION audit_trigger(of_table text) RETURNS void LANGUAGE plpgsql AS $audit$
DECLARE a audited; key text; client text;
BEGIN
  SELECT * INTO a FROM audited x WHERE x.table_name = of_table;
  -- The key without the company, as text; `r` stands for the row.
  SELECT string_agg(CASE WHEN k.attname ~ '(^|_)iban$' THEN format('left(r.%1$I, 4) || ''…'' || right(r.%1$I, 4)', k.attname)
                         ELSE format('r.%I::text', k.attname) END, ' || ''/'' || ' ORDER BY p.place) INTO key
  FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY p(attnum, place)
  JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = p.attnum
  WHERE i.indrelid = of_table::regclass AND i.indisprimary AND (k.attname <> 'company_id' OR i.indnatts = 1);
  SELECT CASE WHEN of_table = 'clients' THEN 'r.id' WHEN bool_or(k.attname = 'client_id') THEN 'r.client_id' ELSE 'NULL::uuid' END INTO client
  FROM pg_attribute k WHERE k.attrelid = of_table::regclass AND k.attnum > 0 AND NOT k.attisdropped;

  EXECUTE format($f$
    CREATE OR REPLACE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
    #variable_conflict use_variable
    DECLARE
      c jsonb := nullif(current_setting('encours.audit', true), '')::jsonb;
      kind text := coalesce(c ->> 'kind', 'OPERATOR'); person uuid := (c ->> 'person')::uuid; acting_as text := c ->> 'role';
      doing text := c ->> 'operation'; request text := c ->> 'request'; who text := coalesce(c ->> 'actor', session_user); place text := c ->> 'address';
      old_row jsonb; new_row jsonb; was jsonb; is_now jsonb;
    BEGIN
      IF TG_OP = 'INSERT' THEN
        INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, after)
        SELECT r.company_id, 'CREATED', %2$L, %3$s, %4$s, kind, person, acting_as, doing, request, who, place, %5$s FROM r;
        RETURN NULL;
      END IF;
      IF TG_OP = 'UPDATE' THEN
        old_row := to_jsonb(OLD) - %6$L::text[];
        new_row := to_jsonb(NEW) - %6$L::text[];
        SELECT jsonb_object_agg(o.key, audit_masked(o.key, o.value)), jsonb_object_agg(o.key, audit_masked(o.key, n.value)) INTO was, is_now
        FROM jsonb_each(old_row) o JOIN jsonb_each(new_row) n ON n.key = o.key AND n.value <> o.value AND n.key !~ '_by$';
      ELSE
        was := audit_image(to_jsonb(OLD) - %6$L::text[] - 'company_id');
      END IF;
      IF coalesce(current_setting('encours.erasing', true), '') <> '' THEN
        -- What is being erased must not live on here.
        SELECT jsonb_object_agg(e.key, '(erased)') INTO was FROM jsonb_each(was) e;
      END IF;
      INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, before, after)
      SELECT r.company_id, CASE TG_OP WHEN 'UPDATE' THEN 'CHANGED' ELSE 'DELETED' END, %2$L, %3$s, %4$s, kind, person, acting_as, doing, request, who, place,
        was, is_now
      FROM (SELECT OLD.*) r;
      RETURN NULL;
    END $body$ $f$,
    'audit_of_' || of_table, a.record_type, key, client,
    CASE a.mode WHEN 'RECORD' THEN format('audit_image(to_jsonb(r) - ''company_id'' - %L::text[])', a.derived) ELSE 'NULL::jsonb' END, a.derived);
  EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'audit_of_' || of_table);
END $audit$;

SELECT audit_trigger(x.table_name) FROM audited x WHERE x.mode <> 'NONE' ORDER BY x.table_name;
DROP FUNCTION audit_trigger(text);

CREATE OR REPLACE FUNCTION audit(audited_table text, record text, how text, derived_columns text[] DEFAULT '{}', why text DEFAULT '') RETURNS void
LANGUAGE plpgsql AS $audit$
DECLARE
  name text := 'audit_of_' || audited_table;
  key text; client text;
BEGIN
  -- What the database computes is told by what it is computed from.
  SELECT derived_columns || coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}') INTO derived_columns
  FROM pg_attribute a WHERE a.attrelid = audited_table::regclass AND a.attgenerated <> '';
  INSERT INTO audited (table_name, record_type, mode, derived, reason) VALUES (audited_table, record, how, derived_columns, why);
  IF how = 'NONE' THEN
    RETURN;
  END IF;
  -- The key without the company, as text; `r` stands for the row.
  SELECT string_agg(CASE WHEN a.attname ~ '(^|_)iban$' THEN format('left(r.%1$I, 4) || ''…'' || right(r.%1$I, 4)', a.attname)
                         ELSE format('r.%I::text', a.attname) END, ' || ''/'' || ' ORDER BY k.place) INTO key
  FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  WHERE i.indrelid = audited_table::regclass AND i.indisprimary AND (a.attname <> 'company_id' OR i.indnatts = 1);
  SELECT CASE WHEN audited_table = 'clients' THEN 'r.id' WHEN bool_or(a.attname = 'client_id') THEN 'r.client_id' ELSE 'NULL::uuid' END INTO client
  FROM pg_attribute a WHERE a.attrelid = audited_table::regclass AND a.attnum > 0 AND NOT a.attisdropped;

  EXECUTE format($f$
    CREATE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
    #variable_conflict use_variable
    DECLARE
      c jsonb := nullif(current_setting('encours.audit', true), '')::jsonb;
      kind text := coalesce(c ->> 'kind', 'OPERATOR'); person uuid := (c ->> 'person')::uuid; acting_as text := c ->> 'role';
      doing text := c ->> 'operation'; request text := c ->> 'request'; who text := coalesce(c ->> 'actor', session_user); place text := c ->> 'address';
      old_row jsonb; new_row jsonb; was jsonb; is_now jsonb;
    BEGIN
      IF TG_OP = 'INSERT' THEN
        INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, after)
        SELECT r.company_id, 'CREATED', %2$L, %3$s, %4$s, kind, person, acting_as, doing, request, who, place, %5$s FROM r;
        RETURN NULL;
      END IF;
      IF TG_OP = 'UPDATE' THEN
        old_row := to_jsonb(OLD) - %6$L::text[];
        new_row := to_jsonb(NEW) - %6$L::text[];
        SELECT jsonb_object_agg(o.key, audit_masked(o.key, o.value)), jsonb_object_agg(o.key, audit_masked(o.key, n.value)) INTO was, is_now
        FROM jsonb_each(old_row) o JOIN jsonb_each(new_row) n ON n.key = o.key AND n.value <> o.value AND n.key !~ '_by$';
      ELSE
        was := audit_image(to_jsonb(OLD) - %6$L::text[] - 'company_id');
      END IF;
      IF coalesce(current_setting('encours.erasing', true), '') <> '' THEN
        -- What is being erased must not live on here.
        SELECT jsonb_object_agg(e.key, '(erased)') INTO was FROM jsonb_each(was) e;
      END IF;
      INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, before, after)
      SELECT r.company_id, CASE TG_OP WHEN 'UPDATE' THEN 'CHANGED' ELSE 'DELETED' END, %2$L, %3$s, %4$s, kind, person, acting_as, doing, request, who, place,
        was, is_now
      FROM (SELECT OLD.*) r;
      RETURN NULL;
    END $body$ $f$,
    name, record, key, client, CASE how WHEN 'RECORD' THEN format('audit_image(to_jsonb(r) - ''company_id'' - %L::text[])', derived_columns) ELSE 'NULL::jsonb' END, derived_columns);
  EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', name);
  IF how <> 'PART' THEN
    EXECUTE format('CREATE TRIGGER audit_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS r FOR EACH STATEMENT EXECUTE FUNCTION %I()', audited_table, name);
  END IF;
  PERFORM audit_updates(audited_table);
  EXECUTE format('CREATE TRIGGER audit_delete AFTER DELETE ON %I FOR EACH ROW EXECUTE FUNCTION %I()', audited_table, name);
END $audit$;

-- Spreads the tables of companies over the machines of a Citus cluster, as their owner, on its coordinator. Again after
-- each migration: what is spread already stays as it is. What differs from one PostgreSQL is said here and nowhere else.
-- Statements are parted by empty lines: each goes to the coordinator by itself.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

SET LOCAL client_min_messages = warning;

-- Tables that every machine has whole: read before a company is known, or of all companies.
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['currencies', 'legal_rates', 'audited', 'users', 'sessions', 'refresh_tokens', 'login_attempts',
    '__diesel_schema_migrations'] LOOP
    IF NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = t::regclass) THEN
      PERFORM create_reference_table(t);
    END IF;
  END LOOP;
END $$;

-- A sales person's clients: what a policy asks there, where it may hold no subquery.
CREATE OR REPLACE FUNCTION in_portfolio(company uuid, client uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT FROM clients c WHERE c.company_id = company AND c.id = client);
END $$;

CREATE OR REPLACE FUNCTION payer_in_portfolio(company uuid, payment uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT FROM payment_events e JOIN clients c ON c.company_id = e.company_id AND c.id = e.client_id
    WHERE e.company_id = company AND e.payment_id = payment AND e.kind = 'IDENTIFIED');
END $$;

-- Refuses a company that lies on another machine than the one that is asked: balances in memory, the change feed and the
-- audit trail compare numbers of transactions, and each machine counts its own.
CREATE OR REPLACE FUNCTION must_lie_here(company uuid) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_dist_placement p WHERE p.shardid = get_shard_id_for_distribution_column('companies', company)
      AND p.groupid = (SELECT g.groupid FROM pg_dist_local_group g)) THEN
    RAISE EXCEPTION 'this company lies on another machine';
  END IF;
END $$;

-- The companies that background work of this machine is for.
CREATE OR REPLACE FUNCTION company_ids() RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE company uuid;
BEGIN
  FOR company IN SELECT c.company_id FROM companies c ORDER BY c.company_id LOOP
    IF EXISTS (SELECT FROM pg_dist_placement p WHERE p.shardid = get_shard_id_for_distribution_column('companies', company)
        AND p.groupid = (SELECT g.groupid FROM pg_dist_local_group g)) THEN
      RETURN NEXT company;
    END IF;
  END LOOP;
END $$;

-- A plan is of the machine that a company lies on, so none is kept for all.
CREATE OR REPLACE FUNCTION plan_once() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;

DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.pronamespace = current_schema()::regnamespace AND array_to_string(p.proconfig, ',') LIKE '%plan_cache_mode%'
  LOOP
    EXECUTE format('ALTER FUNCTION %s RESET plan_cache_mode', f);
  END LOOP;
  -- Statistics are of the shards, which autovacuum looks after.
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.proname = 'refresh_statistics' LOOP
    EXECUTE regexp_replace(pg_get_functiondef(f), 'AS \$function\$.*\$function\$', 'AS $function$ BEGIN END $function$');
  END LOOP;
END $$;

-- Tables with their walls. A policy that restricts would permit on the shards (Citus 13.2), so the portfolio goes into the
-- wall of the company.
DO $$
DECLARE
  t record;
  ours text := $q$company_id = nullif(current_setting('encours.company', true), '')::uuid$q$;
  theirs text;
  progress boolean := true;
BEGIN
  CREATE TEMP TABLE walls ON COMMIT DROP AS
    SELECT c.oid::regclass AS name, p.cmd, p.qual FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped
    LEFT JOIN pg_policies p ON p.schemaname = current_schema() AND p.tablename = c.relname AND p.policyname = 'portfolio'
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
      AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = c.oid::regclass);
  FOR t IN SELECT w.name, p.policyname FROM walls w JOIN pg_policies p ON p.schemaname = current_schema() AND format('%I', p.tablename)::regclass = w.name LOOP
    EXECUTE format('DROP POLICY %I ON %s', t.policyname, t.name);
  END LOOP;
  IF EXISTS (SELECT FROM walls w WHERE w.name = 'companies'::regclass) THEN
    PERFORM create_distributed_table('companies', 'company_id');
  END IF;
  -- Each after those that it refers to.
  WHILE progress LOOP
    progress := false;
    FOR t IN SELECT w.name FROM walls w WHERE NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = w.name)
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = w.name AND k.contype = 'f' AND k.confrelid <> w.name
        AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = k.confrelid))
    LOOP
      PERFORM create_distributed_table(t.name, 'company_id', colocate_with => 'companies');
      progress := true;
    END LOOP;
  END LOOP;
  FOR t IN SELECT w.name FROM walls w WHERE NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = w.name) LOOP
    RAISE EXCEPTION 'table % refers to one that is not spread', t.name;
  END LOOP;
  FOR t IN SELECT w.* FROM walls w JOIN pg_class c ON c.oid = w.name AND c.relrowsecurity LOOP
    theirs := CASE
      WHEN t.qual IS NULL THEN 'true'
      WHEN t.name = 'clients'::regclass THEN $q$sales_owner_id = nullif(current_setting('encours.portfolio', true), '')::uuid$q$
      WHEN t.name = 'payments'::regclass THEN 'in_portfolio(company_id, client_id) OR client_id IS NULL AND payer_in_portfolio(company_id, id)'
      WHEN t.qual LIKE '%client_id%' THEN 'in_portfolio(company_id, client_id)'
      -- Never: the column keeps the condition at its table.
      ELSE 'company_id IS NULL' END;
    theirs := format($q$(coalesce(current_setting('encours.portfolio', true), '') = '' OR %s)$q$, theirs);
    IF t.cmd = 'SELECT' THEN
      EXECUTE format('CREATE POLICY company ON %s FOR SELECT USING (%s AND %s)', t.name, ours, theirs);
      EXECUTE format('CREATE POLICY company_insert ON %s FOR INSERT WITH CHECK (%s)', t.name, ours);
      EXECUTE format('CREATE POLICY company_update ON %s FOR UPDATE USING (%s)', t.name, ours);
      EXECUTE format('CREATE POLICY company_delete ON %s FOR DELETE USING (%s)', t.name, ours);
    ELSE
      EXECUTE format('CREATE POLICY company ON %s USING (%s AND %s)', t.name, ours, theirs);
    END IF;
    EXECUTE format('CREATE POLICY migrator ON %s TO CURRENT_USER USING (true) WITH CHECK (true)', t.name);
  END LOOP;
END $$;

-- What policies, triggers and statements call is on every machine: what is made anew now is passed on. Not by
-- `create_distributed_function`, by which a call may be done on any machine.
DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_object o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid)
  LOOP
    EXECUTE pg_get_functiondef(f);
  END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION in_portfolio(uuid, uuid), payer_in_portfolio(uuid, uuid), must_lie_here(uuid) TO encours_app;

DO $$
BEGIN
  EXECUTE format('ALTER DATABASE %I SET citus.multi_shard_modify_mode = ''sequential''', current_database());
END $$;

-- What stands in the way of spreading companies over machines (Citus), where a table is many, each on a machine of
-- its own: a trigger there cannot read what was added and write another table in one statement. What is written stays the
-- same, but a statement writes rows of one company: over several it is refused. The walls stay as they are: a setting that
-- a policy compares directly, as it has to there, makes the planner of one PostgreSQL expect all rows of a company (a
-- receipt took 24 ms instead of 12). `store/distribution.sql` puts up others where tables are spread.

-- ---------------------------------------------------------------- the feed

-- Writes the trigger of a watched table anew, see `watch`. `client` is an expression over the row `n`; `sought` one over
-- what was gathered of it (`r.subject`, `r.client`), which may look into other tables of the company, `of_company`.
CREATE OR REPLACE FUNCTION watch_trigger(watched text, topic text, record text, added text DEFAULT NULL, changed text DEFAULT NULL,
  subject text DEFAULT 'n.id', client text DEFAULT NULL, sought text DEFAULT 'r.client') RETURNS void LANGUAGE plpgsql AS $watch$
DECLARE has_client boolean;
BEGIN
  SELECT EXISTS (SELECT 1 FROM information_schema.columns c
                 WHERE c.table_schema = current_schema() AND c.table_name = watched AND c.column_name = 'client_id') INTO has_client;
  EXECUTE format($f$
    CREATE OR REPLACE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
    DECLARE of_company uuid; owners uuid[]; kinds text[]; subjects uuid[]; clients uuid[]; told bigint;
    BEGIN
      IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.company_id), array_agg(k.kind), array_agg(%5$s), array_agg(%6$s) INTO owners, kinds, subjects, clients
        FROM n CROSS JOIN LATERAL (SELECT %3$s AS kind) k WHERE k.kind IS NOT NULL;
      ELSE
        SELECT array_agg(n.company_id), array_agg(k.kind), array_agg(%5$s), array_agg(%6$s) INTO owners, kinds, subjects, clients
        FROM n CROSS JOIN LATERAL (SELECT %4$s AS kind) k WHERE k.kind IS NOT NULL;
      END IF;
      of_company := owners[1];
      IF of_company IS NULL THEN
        RETURN NULL;
      END IF;
      INSERT INTO changes (company_id, topic, kind, subject_id, client_id)
      SELECT c.company_id, %2$L, r.kind, r.subject, %7$s
      FROM companies c CROSS JOIN unnest(owners, kinds, subjects, clients) r(owner, kind, subject, client)
      WHERE c.company_id = of_company AND r.owner = of_company;
      GET DIAGNOSTICS told = ROW_COUNT;
      IF told <> cardinality(kinds) THEN
        RAISE EXCEPTION 'a statement writes the rows of one company';
      END IF;
      RETURN NULL;
    END $body$ $f$,
    'changes_of_' || watched, topic, coalesce(added, quote_literal(record || '_RECORDED')),
    coalesce(changed, quote_literal(record || '_CHANGED')), subject,
    coalesce(client, CASE WHEN has_client THEN 'n.client_id' ELSE 'NULL::uuid' END), sought);
  EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'changes_of_' || watched);
END $watch$;
REVOKE ALL ON FUNCTION watch_trigger(text, text, text, text, text, text, text, text) FROM PUBLIC;

-- Puts a table on the feed, as before.
CREATE OR REPLACE FUNCTION watch(watched text, topic text, record text, added text DEFAULT NULL, changed text DEFAULT NULL,
  subject text DEFAULT 'n.id', client text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $watch$
BEGIN
  PERFORM watch_trigger(watched, topic, record, added, changed, subject, client);
  EXECUTE format('CREATE TRIGGER changes_added AFTER INSERT ON %I REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION %I()',
    watched, 'changes_of_' || watched);
  EXECUTE format('CREATE TRIGGER changes_changed AFTER UPDATE ON %I REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION %I()',
    watched, 'changes_of_' || watched);
END $watch$;

SELECT watch_trigger('documents', 'DOCUMENTS', 'DOCUMENT', added => $$n.kind || '_ISSUED'$$, changed => $$n.kind || '_CHANGED'$$);
SELECT watch_trigger('deductions', 'DOCUMENTS', 'DEDUCTION');
SELECT watch_trigger('payments', 'PAYMENTS', 'PAYMENT');
SELECT watch_trigger('payment_events', 'PAYMENTS', 'PAYMENT', added => $$'PAYMENT_' || n.kind$$, subject => 'n.payment_id',
  sought => $$coalesce(r.client, (SELECT p.client_id FROM payments p WHERE p.company_id = c.company_id AND p.id = r.subject),
    (SELECT i.client_id FROM payment_events i WHERE i.company_id = c.company_id AND i.payment_id = r.subject AND i.kind = 'IDENTIFIED'))$$);
SELECT watch_trigger('allocations', 'MATCHINGS', 'ALLOCATION', added => $$'ALLOCATION_MATCHED'$$,
  changed => $$CASE WHEN n.ended_on IS NOT NULL THEN 'ALLOCATION_UNMATCHED' ELSE 'ALLOCATION_CHANGED' END$$);
SELECT watch_trigger('disputes', 'DISPUTES', 'DISPUTE', added => $$'DISPUTE_OPENED'$$);
SELECT watch_trigger('dispute_events', 'DISPUTES', 'DISPUTE', added => $$CASE n.kind WHEN 'NOTE' THEN 'DISPUTE_NOTED' END$$,
  subject => 'n.dispute_id', sought => $$(SELECT d.client_id FROM disputes d WHERE d.company_id = c.company_id AND d.id = r.subject)$$);
SELECT watch_trigger('dunning_actions', 'DUNNING', 'DUNNING_ACTION');
SELECT watch_trigger('promises', 'DUNNING', 'PROMISE', changed => $$CASE WHEN n.cancelled_on IS NULL THEN 'PROMISE_CHANGED' ELSE 'PROMISE_CANCELLED' END$$);
SELECT watch_trigger('dunning_runs', 'DUNNING', 'DUNNING_RUN', added => $$'DUNNING_RUN_PROPOSED'$$, changed => $$'DUNNING_RUN_' || n.status$$);
SELECT watch_trigger('dunning_proofs', 'DUNNING', 'DUNNING_ACTION', added => $$'DUNNING_ACTION_' || n.kind$$, subject => 'n.action_id');
SELECT watch_trigger('outbox', 'DUNNING', 'MAIL', added => $$'MAIL_QUEUED'$$, changed => $$CASE WHEN n.status <> 'QUEUED' THEN 'MAIL_' || n.status END$$);
SELECT watch_trigger('instalment_plans', 'DUNNING', 'PAYMENT_PLAN', changed => $$'PAYMENT_PLAN_CANCELLED'$$);
SELECT watch_trigger('litigation_cases', 'DUNNING', 'LITIGATION_CASE', added => $$'LITIGATION_CASE_OPENED'$$);
SELECT watch_trigger('collection_notes', 'WORKLIST', 'COLLECTION_NOTE');
SELECT watch_trigger('clients', 'CLIENTS', 'CLIENT', added => $$'CLIENT_OPENED'$$, client => 'n.id');
SELECT watch_trigger('tasks', 'WORKLIST', 'TASK', added => $$'TASK_OPENED'$$,
  changed => $$CASE WHEN n.done_at IS NULL THEN 'TASK_CHANGED' ELSE 'TASK_DONE' END$$);
SELECT watch_trigger('approval_requests', 'WORKLIST', 'APPROVAL', added => $$CASE WHEN n.status = 'PROPOSED' THEN 'APPROVAL_PROPOSED' END$$,
  changed => $$CASE WHEN n.status <> 'PROPOSED' THEN 'APPROVAL_' || n.status END$$);

-- ---------------------------------------------------------------- the audit trail

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
      action text; old_row jsonb; new_row jsonb; was jsonb; is_now jsonb;
      of_company uuid; owners uuid[]; keys text[]; clients uuid[]; images jsonb[]; told bigint;
    BEGIN
      IF TG_OP = 'INSERT' THEN
        SELECT array_agg(r.company_id), array_agg(%3$s), array_agg(%4$s), array_agg(%5$s) INTO owners, keys, clients, images FROM r;
        of_company := owners[1];
        IF of_company IS NULL THEN
          RETURN NULL;
        END IF;
        IF c ? 'authors' THEN
          -- A record without an author is refused: it has no kind of actor.
          INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, after)
          SELECT o.company_id, 'CREATED', %2$L, r.key, r.client, a.told ->> 'kind', (a.told ->> 'person')::uuid, a.told ->> 'role', a.told ->> 'operation',
            a.told ->> 'request', a.told ->> 'actor', a.told ->> 'address', r.image
          FROM companies o CROSS JOIN unnest(owners, keys, clients, images) r(owner, key, client, image)
          CROSS JOIN LATERAL (SELECT c -> 'authors' -> (c -> 'of' ->> r.key)::int AS told OFFSET 0) a
          WHERE o.company_id = of_company AND r.owner = of_company;
        ELSE
          INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, after)
          SELECT o.company_id, 'CREATED', %2$L, r.key, r.client, kind, person, acting_as, doing, request, who, place, r.image
          FROM companies o CROSS JOIN unnest(owners, keys, clients, images) r(owner, key, client, image)
          WHERE o.company_id = of_company AND r.owner = of_company;
        END IF;
        GET DIAGNOSTICS told = ROW_COUNT;
        IF told <> cardinality(keys) THEN
          RAISE EXCEPTION 'a statement adds the rows of one company';
        END IF;
        RETURN NULL;
      END IF;
      IF c ? 'authors' THEN
        RAISE EXCEPTION 'a change is made in the name of one author';
      END IF;
      IF TG_OP = 'UPDATE' THEN
        action := 'CHANGED';
        old_row := to_jsonb(OLD) - %6$L::text[];
        new_row := to_jsonb(NEW) - %6$L::text[];
        SELECT jsonb_object_agg(o.key, audit_masked(o.key, o.value)), jsonb_object_agg(o.key, audit_masked(o.key, n.value)) INTO was, is_now
        FROM jsonb_each(old_row) o JOIN jsonb_each(new_row) n ON n.key = o.key AND n.value <> o.value AND n.key !~ '_by$';
      ELSE
        action := 'DELETED';
        was := audit_image(to_jsonb(OLD) - %6$L::text[] - 'company_id');
      END IF;
      IF coalesce(current_setting('encours.erasing', true), '') <> '' THEN
        -- What is being erased must not live on here.
        SELECT jsonb_object_agg(e.key, '(erased)') INTO was FROM jsonb_each(was) e;
      END IF;
      INSERT INTO audit_entries (company_id, action, record_type, record_id, client_id, actor_kind, actor_id, role, operation, request_id, actor, address, before, after)
      VALUES (OLD.company_id, action, %2$L, %7$s, %8$s, kind, person, acting_as, doing, request, who, place,
        was, is_now);
      RETURN NULL;
    END $body$ $f$,
    'audit_of_' || of_table, a.record_type, key, client,
    CASE a.mode WHEN 'RECORD' THEN format('audit_image(to_jsonb(r) - ''company_id'' - %L::text[])', a.derived) ELSE 'NULL::jsonb' END, a.derived,
    replace(key, 'r.', 'OLD.'), replace(client, 'r.', 'OLD.'));
  EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'audit_of_' || of_table);
END $audit$;

SELECT audit_trigger(x.table_name) FROM audited x WHERE x.mode <> 'NONE' ORDER BY x.table_name;

-- ---------------------------------------------------------------- entries and their seals

-- The entries of one company that a statement writes: they balance, their days are open, and each is sealed. What was
-- added is gathered first, since where a company lies on a machine of its own the rows cannot be joined with a table.
CREATE OR REPLACE FUNCTION check_entry_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad uuid; company uuid; companies_added bigint; first_on date; closed date; entry record; previous bytea; year int; reached bigint; sealed bigint;
  added_ids uuid[]; counts bigint[]; contents text[];
  years int[] := '{}'; numbers bigint[] := '{}'; ids uuid[] := '{}'; seals bytea[] := '{}';
BEGIN
  SELECT a.entry_id INTO bad FROM added a GROUP BY a.company_id, a.entry_id, a.currency
  HAVING sum(a.debit) <> sum(a.credit) OR sum(a.base_debit) <> sum(a.base_credit) LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'journal entry % does not balance', bad USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_balances';
  END IF;
  SELECT (array_agg(t.company_id))[1], count(DISTINCT t.company_id), min(t.first_on), array_agg(t.entry_id), array_agg(t.count), array_agg(t.lines)
  INTO company, companies_added, first_on, added_ids, counts, contents
  FROM (SELECT l.company_id, l.entry_id, count(*), min(l.posted_on) FILTER (WHERE NOT l.carried) AS first_on,
      string_agg(json_build_array(l.line, l.account, l.client_id, l.debit, l.credit, l.currency, l.base_debit, l.base_credit, l.carried)::text,
        ', ' ORDER BY l.line) AS lines
    FROM added l GROUP BY l.company_id, l.entry_id) t;
  IF company IS NULL THEN
    RETURN NULL;
  END IF;
  IF companies_added > 1 THEN
    RAISE EXCEPTION 'a statement writes the entries of one company';
  END IF;
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('closings ' || company, 0));
  -- Balances that are carried forward open a year whose first periods may be closed.
  SELECT p.closed_through INTO closed FROM period_closings p WHERE p.company_id = company ORDER BY p.recorded_at DESC, p.id DESC LIMIT 1;
  IF first_on <= closed THEN
    RAISE EXCEPTION 'the books were closed meanwhile' USING ERRCODE = 'serialization_failure';
  END IF;
  FOR entry IN
    SELECT a.id, e.fiscal_year, e.number, a.count, e.head || '[' || a.lines || ']' AS content
    FROM unnest(added_ids, counts, contents) a(id, count, lines)
    CROSS JOIN LATERAL (SELECT e.fiscal_year, e.number,
        json_build_array(e.id, e.journal, e.fiscal_year, e.number, to_char(e.posted_on, 'YYYYMMDD'), to_char(e.occurred_on, 'YYYYMMDD'),
          e.reference, e.label, e.source_kind, e.source_id, e.reversal_of, (extract(epoch FROM e.recorded_at) * 1000000)::bigint,
          e.recorded_by)::text AS head
      FROM journal_entries e WHERE e.company_id = company AND e.id = a.id OFFSET 0) e
    ORDER BY e.fiscal_year, e.number
  LOOP
    IF entry.count < 2 THEN
      RAISE EXCEPTION 'journal entry % must be written whole, with two lines or more', entry.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_whole';
    END IF;
    IF (year, reached + 1) IS DISTINCT FROM (entry.fiscal_year, entry.number) THEN
      SELECT s.seal INTO previous FROM journal_seals s
      WHERE s.company_id = company AND s.fiscal_year = entry.fiscal_year AND s.number = entry.number - 1;
      IF NOT FOUND THEN
        -- The first of its year; or a number is missing, which the checks of the books tell.
        SELECT s.seal INTO previous FROM journal_seals s
        WHERE s.company_id = company AND s.fiscal_year = entry.fiscal_year AND s.number < entry.number
        ORDER BY s.number DESC LIMIT 1;
        previous := coalesce(previous, chain_origin(company, entry.fiscal_year));
      END IF;
    END IF;
    year := entry.fiscal_year;
    reached := entry.number;
    previous := sha256(previous || convert_to(entry.content, 'UTF8'));
    years := years || year;
    numbers := numbers || reached;
    ids := ids || entry.id;
    seals := seals || previous;
  END LOOP;
  INSERT INTO journal_seals (company_id, fiscal_year, number, entry_id, seal)
  SELECT c.company_id, s.year, s.number, s.id, s.seal
  FROM companies c CROSS JOIN unnest(years, numbers, ids, seals) s(year, number, id, seal) WHERE c.company_id = company
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS sealed = ROW_COUNT;
  -- An entry that has its seal already was written before.
  IF sealed <> cardinality(ids) THEN
    RAISE EXCEPTION 'journal entries % to % must each be written whole', ids[1], ids[cardinality(ids)]
      USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_entry_whole';
  END IF;
  RETURN NULL;
END $$;

-- ---------------------------------------------------------------- functions of the trail and of persons

-- A row of a table that is spread is of a type of its own: it is made one of the trail.
CREATE OR REPLACE FUNCTION seal_audit(of_company uuid, most int, horizon xid8 DEFAULT NULL) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE chain audit_chains; sealed int;
BEGIN
  INSERT INTO audit_chains (company_id) VALUES (of_company) ON CONFLICT DO NOTHING;
  SELECT * INTO chain FROM audit_chains c WHERE c.company_id = of_company FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  WITH next AS (
    SELECT e.xid, e.seq, audit_head(ROW(e.*)::audit_entries) AS head, audit_who(ROW(e.*)::audit_entries) AS who,
      audit_what(ROW(e.*)::audit_entries) AS what, row_number() OVER (ORDER BY e.xid, e.seq) AS place
    FROM audit_entries e
    WHERE e.company_id = of_company AND (e.xid, e.seq) > (chain.xid, chain.seq) AND e.xid < coalesce(horizon, pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY e.xid, e.seq LIMIT most)
  INSERT INTO audit_seals (company_id, ordinal, xid, seq, who, what, seal)
  SELECT of_company, chain.ordinal + n.place, n.xid, n.seq, n.who, n.what,
    audit_chained(coalesce(chain.seal, audit_origin(of_company)), n.head, n.who, n.what) OVER (ORDER BY n.place ROWS UNBOUNDED PRECEDING)
  FROM next n;
  GET DIAGNOSTICS sealed = ROW_COUNT;
  UPDATE audit_chains c SET ordinal = s.ordinal, xid = s.xid, seq = s.seq, seal = s.seal
  FROM audit_seals s WHERE c.company_id = of_company AND s.company_id = of_company AND s.ordinal = chain.ordinal + sealed;
  RETURN sealed;
END $$;

CREATE OR REPLACE FUNCTION verify_audit(of_company uuid, most bigint, OUT sealed bigint, OUT proven bigint, OUT unsealed bigint, OUT erased bigint, OUT seal bytea, OUT sealed_through timestamp with time zone, OUT broken_at bigint, OUT broken_why text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $$
DECLARE chain audit_chains; first bigint; origin bytea;
BEGIN
  SELECT * INTO chain FROM audit_chains c WHERE c.company_id = of_company;
  sealed := coalesce(chain.ordinal, 0);
  seal := chain.seal;
  first := greatest(sealed - most, 0) + 1;
  SELECT s.seal INTO origin FROM audit_seals s WHERE s.company_id = of_company AND s.ordinal = first - 1;
  origin := coalesce(origin, CASE first WHEN 1 THEN audit_origin(of_company) END);
  SELECT count(*) INTO unsealed FROM audit_entries e
    WHERE e.company_id = of_company AND (e.xid, e.seq) > (coalesce(chain.xid, '0'), coalesce(chain.seq, 0));
  SELECT count(*), count(*) FILTER (WHERE x.erasure_id IS NOT NULL OR x.who_salt IS NULL), max(x.at),
    (array_agg(x.place ORDER BY x.place) FILTER (WHERE x.why IS NOT NULL))[1], (array_agg(x.why ORDER BY x.place) FILTER (WHERE x.why IS NOT NULL))[1]
  INTO proven, erased, sealed_through, broken_at, broken_why
  FROM (
    SELECT t.place, t.at, t.erasure_id, t.who_salt, CASE
      WHEN t.ordinal IS NULL THEN 'its seal was removed'
      WHEN t.entry IS NULL THEN 'the entry was removed'
      WHEN t.what_salt IS NOT NULL AND audit_what(t.entry) <> t.what THEN 'what it changed was altered'
      WHEN t.who_salt IS NOT NULL AND audit_who(t.entry) <> t.who THEN 'who made it was altered'
      WHEN t.what_salt IS NULL AND NOT EXISTS (SELECT 1 FROM erasures r WHERE r.company_id = of_company AND r.id = t.erasure_id) THEN 'its content was erased without an erasure'
      WHEN t.who_salt IS NULL AND t.at > now() - interval '1 year'
        AND NOT EXISTS (SELECT 1 FROM erasures r WHERE r.company_id = of_company AND r.id = t.erasure_id) THEN 'its author was erased without an erasure'
      WHEN t.seal IS DISTINCT FROM t.expected THEN 'the chain does not lead here: the entry or its seal was altered'
      END AS why
    FROM (
      SELECT g.place, s.ordinal, s.who, s.what, s.seal, CASE WHEN e.company_id IS NOT NULL THEN ROW(e.*)::audit_entries END AS entry, e.at, e.what_salt, e.who_salt, e.erasure_id,
        audit_chained(origin, audit_head(ROW(e.*)::audit_entries), s.who, s.what) OVER (ORDER BY g.place ROWS UNBOUNDED PRECEDING) AS expected
      FROM generate_series(first, sealed) g(place)
      LEFT JOIN audit_seals s ON s.company_id = of_company AND s.ordinal = g.place
      LEFT JOIN audit_entries e ON e.company_id = of_company AND e.xid = s.xid AND e.seq = s.seq) t) x;
  IF broken_why IS NULL AND sealed > 0 AND chain.seal IS DISTINCT FROM (SELECT s.seal FROM audit_seals s WHERE s.company_id = of_company AND s.ordinal = sealed) THEN
    broken_at := sealed;
    broken_why := 'the end of the chain was altered';
  END IF;
  IF broken_why IS NULL AND EXISTS (SELECT 1 FROM audit_seals s WHERE s.company_id = of_company AND s.ordinal > sealed) THEN
    broken_at := sealed + 1;
    broken_why := 'the end of the chain was taken back';
  END IF;
  IF broken_why IS NULL THEN
    -- An entry in the sealed past that no seal covers was put there afterwards.
    SELECT s.ordinal, 'an entry was put before it' INTO broken_at, broken_why
    FROM audit_entries e CROSS JOIN LATERAL (SELECT t.ordinal FROM audit_seals t WHERE t.company_id = of_company AND (t.xid, t.seq) > (e.xid, e.seq)
      ORDER BY t.xid, t.seq LIMIT 1) s
    WHERE e.company_id = of_company AND (e.xid, e.seq) <= (chain.xid, chain.seq)
      AND (e.xid, e.seq) >= (SELECT f.xid, f.seq FROM audit_seals f WHERE f.company_id = of_company AND f.ordinal = first)
      AND NOT EXISTS (SELECT 1 FROM audit_seals t WHERE t.company_id = of_company AND t.xid = e.xid AND t.seq = e.seq)
    ORDER BY e.xid, e.seq LIMIT 1;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION known_values(of_company uuid, record text, of_record text, personal text[])
 RETURNS text[]
 LANGUAGE plpgsql
 STABLE
AS $$
BEGIN
  RETURN (
  SELECT array_agg(DISTINCT x.value) FROM audit_entries e
  CROSS JOIN LATERAL (SELECT * FROM jsonb_each_text(coalesce(e.before, '{}')) UNION ALL SELECT * FROM jsonb_each_text(coalesce(e.after, '{}'))) x
  WHERE e.company_id = of_company AND e.record_id = of_record AND e.record_type = record AND x.key = ANY (personal) AND x.value NOT IN ('', '(erased)', '(hidden)'));
END $$;

CREATE OR REPLACE FUNCTION erase_member(of_company uuid, of_user uuid, of_erasure uuid)
 RETURNS TABLE(place text, n bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path FROM CURRENT
AS $$
DECLARE u users; here uuid; told text[]; pattern text; left_at timestamptz; gone text := 'efface-' || of_user || '@efface.invalid';
BEGIN
  PERFORM inside_wall(of_company);
  SELECT t.* INTO u FROM users t JOIN memberships m ON m.user_id = t.id AND m.company_id = of_company WHERE t.id = of_user FOR UPDATE OF t;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = of_user AND m.ended_at IS NULL) THEN
    RAISE EXCEPTION 'the person is a member' USING ERRCODE = 'check_violation', CONSTRAINT = 'erased_member_left';
  END IF;
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  told := ARRAY[u.email, u.name];
  left_at := coalesce(u.disabled_at, now());
  pattern := values_pattern(ARRAY[u.email]);
  UPDATE users t SET name = 'Personne effacée', email = gone, password_hash = NULL, disabled_at = left_at WHERE t.id = of_user;
  place := 'users'; n := 1; RETURN NEXT;
  DELETE FROM sessions t WHERE t.user_id = of_user;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'sessions'; RETURN NEXT; END IF;
  FOR here IN SELECT m.company_id FROM memberships m WHERE m.user_id = of_user ORDER BY 1 LOOP
    INSERT INTO erasures (company_id, id, subject_type, subject_id, reason, recorded_by)
    SELECT here, of_erasure, e.subject_type, e.subject_id, e.reason, 'encours' FROM erasures e
    WHERE e.company_id = of_company AND e.id = of_erasure ON CONFLICT DO NOTHING;
    UPDATE invitations t SET email = gone WHERE t.company_id = here AND t.email = u.email;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 AND here = of_company THEN place := 'invitations'; RETURN NEXT; END IF;
    DELETE FROM idempotency_answers t WHERE t.company_id = here
      AND (t.answer ~* pattern OR position(to_jsonb(u.name)::text IN t.answer) > 0);
    UPDATE audit_entries e SET before = audit_scrubbed(e.before, keys_that_tell(e.before, told), pattern),
      after = audit_scrubbed(e.after, keys_that_tell(e.after, told), pattern),
      details = audit_scrubbed(e.details, keys_that_tell(e.details, told), pattern), what_salt = NULL, erasure_id = of_erasure
    WHERE e.company_id = here AND e.record_type IN ('INVITATION', 'MEMBER', 'SESSION')
      AND ((coalesce(e.before::text, '') || coalesce(e.after::text, '') || coalesce(e.details::text, '')) ~* pattern
        OR e.record_id = of_user::text AND keys_that_tell(e.before, told) || keys_that_tell(e.after, told) || keys_that_tell(e.details, told) <> '{}');
    UPDATE audit_entries e SET actor = of_user::text, address = NULL, who_salt = NULL, erasure_id = of_erasure
    WHERE e.company_id = here AND e.actor = u.email AND e.actor_kind = 'PERSON';
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 AND here = of_company THEN place := 'audit_entries'; RETURN NEXT; END IF;
  END LOOP;
  PERFORM set_config('encours.erasing', '', true);
END $$;

CREATE OR REPLACE FUNCTION seal_audit_now(of_company uuid, most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN seal_audit(of_company, most);
END $$;

CREATE OR REPLACE FUNCTION companies_of(person uuid)
 RETURNS TABLE(company_id uuid, name text, role text)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $$
BEGIN
  RETURN QUERY SELECT c.company_id, c.name, m.role
  FROM public.memberships m JOIN public.companies c ON c.company_id = m.company_id
  WHERE m.user_id = person AND m.ended_at IS NULL
  ORDER BY c.name, c.company_id;
END $$;

-- Plans each statement of a transaction once. Where companies are spread, a plan is of the machine that was asked for.
CREATE FUNCTION plan_once() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
END $$;

CREATE OR REPLACE FUNCTION entry_content(of_company uuid, of_entry uuid) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT jsonb_build_array(e.id, e.journal, e.fiscal_year, e.number, to_char(e.posted_on, 'YYYYMMDD'), to_char(e.occurred_on, 'YYYYMMDD'),
      e.reference, e.label, e.source_kind, e.source_id, e.reversal_of, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.recorded_by)::text
    || (SELECT jsonb_agg(jsonb_build_array(l.line, l.account, l.client_id, l.debit, l.credit, l.currency, l.base_debit, l.base_credit, l.carried)
          ORDER BY l.line)::text FROM journal_lines l WHERE l.company_id = of_company AND l.entry_id = of_entry)
  FROM journal_entries e WHERE e.company_id = of_company AND e.id = of_entry);
END $$;

CREATE OR REPLACE FUNCTION plan_paid(plan instalment_plans, day date) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT coalesce(sum(-l.delta), 0)::bigint FROM plan_items i
    JOIN receivable_ledger l ON l.company_id = i.company_id AND l.item_id = i.item_id
      AND l.recorded_at > plan.recorded_at AND l.effective_on <= day
    WHERE i.company_id = plan.company_id AND i.plan_id = plan.id);
END $$;

CREATE OR REPLACE FUNCTION plan_wanted(plan instalment_plans, day date) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT coalesce(sum(n.amount), 0)::bigint FROM instalments n
    WHERE n.company_id = plan.company_id AND n.plan_id = plan.id AND n.due_on + plan.grace_days < day);
END $$;

CREATE OR REPLACE FUNCTION erase_contact(of_company uuid, of_contact uuid, of_erasure uuid)
 RETURNS TABLE(place text, n bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path FROM CURRENT
AS $$
DECLARE at_once timestamptz := now(); c client_contacts; personal CONSTANT text[] := '{name,email,phone}'; known text[];
BEGIN
  PERFORM inside_wall(of_company);
  SELECT * INTO c FROM client_contacts t WHERE t.company_id = of_company AND t.id = of_contact FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  PERFORM set_config('encours.erasing', of_erasure::text, true);
  known := ARRAY[c.name, c.email, c.phone] || coalesce(known_values(of_company, 'CONTACT', of_contact::text, personal), '{}');
  UPDATE client_contacts t SET name = 'Contact effacé', email = NULL, phone = NULL, removed_at = coalesce(t.removed_at, at_once)
  WHERE t.company_id = of_company AND t.id = of_contact;
  place := 'client_contacts'; n := 1; RETURN NEXT;
  n := erase_images(of_company, 'CONTACT', of_contact::text, personal, of_erasure);
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
  RETURN QUERY SELECT * FROM erase_values(of_company, c.client_id, array_remove(known, 'Contact effacé'), of_erasure);
  PERFORM set_config('encours.erasing', '', true);
END $$;

CREATE OR REPLACE FUNCTION erase_values(of_company uuid, of_client uuid, of_values text[], of_erasure uuid)
 RETURNS TABLE(place text, n bigint)
 LANGUAGE plpgsql
AS $$
DECLARE
  pattern text := values_pattern(of_values);
  gone CONSTANT text := '(effacé)';
  c record;
BEGIN
  IF pattern IS NULL THEN
    RETURN;
  END IF;
  -- Text that people write, in whatever table tells of a client. Vouchers and entries are kept by law.
  FOR c IN SELECT k.table_name::text AS t, k.column_name::text AS col FROM information_schema.columns k
    WHERE k.table_schema = current_schema() AND k.data_type = 'text'
      AND k.column_name IN ('note', 'notes', 'reason', 'description', 'spoke_to', 'subject', 'name', 'title', 'text', 'body', 'comment', 'handler',
        'cancelled_reason', 'decision', 'reference', 'last_error')
      AND k.table_name NOT IN ('clients', 'client_contacts', 'legal_archive', 'documents', 'payments', 'payment_events', 'operations', 'items',
        'rectified_invoices', 'bank_matches', 'provision_run_lines', 'doubtful_files', 'evidence_seals', 'outbox', 'dunning_proofs')
      AND EXISTS (SELECT 1 FROM information_schema.columns i
        WHERE i.table_schema = k.table_schema AND i.table_name = k.table_name AND i.column_name = 'client_id')
      AND EXISTS (SELECT 1 FROM information_schema.tables i
        WHERE i.table_schema = k.table_schema AND i.table_name = k.table_name AND i.table_type = 'BASE TABLE')
    ORDER BY 1, 2
  LOOP
    EXECUTE format('UPDATE %1$I t SET %2$I = regexp_replace(t.%2$I, $3, $4, ''gi'') WHERE t.company_id = $1 AND t.client_id = $2 AND t.%2$I ~* $3', c.t, c.col)
      USING of_company, of_client, pattern, gone;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 THEN place := c.t || '.' || c.col; RETURN NEXT; END IF;
  END LOOP;

  UPDATE dispute_events t SET note = regexp_replace(t.note, pattern, gone, 'gi')
  FROM disputes d WHERE d.company_id = of_company AND d.client_id = of_client AND t.company_id = of_company AND t.dispute_id = d.id AND t.note ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'dispute_events.note'; RETURN NEXT; END IF;

  UPDATE invoice_drafts t SET content = regexp_replace(t.content::text, pattern, gone, 'gi')::jsonb
  WHERE t.company_id = of_company AND t.client_id = of_client AND t.content::text ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'invoice_drafts.content'; RETURN NEXT; END IF;

  -- Mails that wait are not sent any more; those that carried a reminder stay as its proof.
  UPDATE outbox t SET status = 'CANCELLED' WHERE t.company_id = of_company AND t.client_id = of_client AND t.status = 'QUEUED' AND t.recipient ~* pattern;
  UPDATE outbox t SET recipient = CASE WHEN t.recipient ~* pattern THEN 'efface@efface.invalid' ELSE t.recipient END,
    subject = regexp_replace(t.subject, pattern, gone, 'gi'), body = regexp_replace(t.body, pattern, gone, 'gi'),
    last_error = regexp_replace(t.last_error, pattern, gone, 'gi')
  WHERE t.company_id = of_company AND t.client_id = of_client AND t.action_id IS NULL
    AND (coalesce(t.recipient, '') || ' ' || coalesce(t.subject, '') || ' ' || coalesce(t.body, '') || ' ' || coalesce(t.last_error, '')) ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'outbox'; RETURN NEXT; END IF;

  -- Answers kept for repeated requests: a repetition reads the records again.
  DELETE FROM idempotency_answers t WHERE t.company_id = of_company AND t.answer ~* pattern;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'idempotency_answers'; RETURN NEXT; END IF;

  UPDATE audit_entries e SET before = audit_scrubbed(e.before, '{}', pattern), after = audit_scrubbed(e.after, '{}', pattern),
    details = audit_scrubbed(e.details, '{}', pattern), what_salt = NULL, erasure_id = of_erasure
  WHERE e.company_id = of_company AND e.client_id = of_client
    AND (e.before::text ~* pattern OR e.after::text ~* pattern OR e.details::text ~* pattern);
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN place := 'audit_entries'; RETURN NEXT; END IF;
END $$;

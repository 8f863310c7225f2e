-- A person's name may be a word that others have in their records, such as a role: it goes from the person's own entries, and
-- where it is all that a field says. Until now it was looked for in every field of everybody's.
CREATE FUNCTION keys_that_tell(image jsonb, told text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(array_agg(e.key), '{}') FROM jsonb_each_text(coalesce(image, '{}')) e
  WHERE e.key <> 'role' AND lower(e.value) IN (SELECT lower(t) FROM unnest(told) t)
$$;
REVOKE ALL ON FUNCTION keys_that_tell(jsonb, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION erase_member(of_company uuid, of_user uuid, of_erasure uuid) RETURNS TABLE (place text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE u users; here uuid; told text[]; pattern text; gone text := 'efface-' || of_user || '@efface.invalid';
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
  pattern := values_pattern(ARRAY[u.email]);
  UPDATE users t SET name = 'Personne effacée', email = gone, password_hash = NULL, disabled_at = coalesce(t.disabled_at, now()) WHERE t.id = of_user;
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
      AND (concat(e.before, e.after, e.details) ~* pattern
        OR e.record_id = of_user::text AND keys_that_tell(e.before, told) || keys_that_tell(e.after, told) || keys_that_tell(e.details, told) <> '{}');
    UPDATE audit_entries e SET actor = of_user::text, address = NULL, who_salt = NULL, erasure_id = of_erasure
    WHERE e.company_id = here AND e.actor = u.email AND e.actor_kind = 'PERSON';
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 AND here = of_company THEN place := 'audit_entries'; RETURN NEXT; END IF;
  END LOOP;
  PERFORM set_config('encours.erasing', '', true);
END $$;

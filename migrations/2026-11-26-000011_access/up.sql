-- Access: sessions with refresh tokens, counters of failed log-ins, service accounts, invitations.
-- Secrets are kept as the SHA-256 of what was given out; all of them have 256 random bits.

-- ---------------------------------------------------------------- people's sessions: reference data, like memberships

-- A log-in to one company. Those that were opened from one another (a switch to another company) have one
-- origin, and end together.
CREATE TABLE sessions (
  id uuid PRIMARY KEY,
  origin_id uuid NOT NULL,
  user_id uuid NOT NULL REFERENCES users,
  company_id uuid NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  -- When its last refresh token ends.
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_for text CHECK (revoked_for IN ('LOGOUT', 'REUSE', 'PASSWORD', 'MEMBERSHIP', 'DISABLED')),
  CHECK ((revoked_at IS NULL) = (revoked_for IS NULL))
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_origin ON sessions (origin_id);
-- Every instance asks for the latest ones, every other second.
CREATE INDEX sessions_by_revocation ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE refresh_tokens (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
  issued_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  -- Once used it is kept: that it comes again is how a theft is noticed.
  used_at timestamptz,
  -- Digest of the address and the software that used it.
  used_by bytea
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- Guesses by e-mail address and by network address; the subject is a digest, so that no address of a
-- stranger is kept.
CREATE TABLE login_attempts (
  subject bytea PRIMARY KEY CHECK (octet_length(subject) = 32),
  failures int NOT NULL CHECK (failures >= 0),
  last_at timestamptz NOT NULL,
  blocked_until timestamptz
);
CREATE INDEX login_attempts_by_time ON login_attempts (last_at);

-- ---------------------------------------------------------------- of a company

CREATE TABLE service_accounts (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
  key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
  expires_on date NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  rotated_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  revoked_by text,
  PRIMARY KEY (company_id, id),
  CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
-- A name in use stands for one account.
CREATE UNIQUE INDEX service_accounts_name ON service_accounts (company_id, lower(name)) WHERE revoked_at IS NULL;

CREATE TABLE invitations (
  company_id uuid NOT NULL REFERENCES companies,
  id uuid NOT NULL,
  email text NOT NULL CHECK (email = lower(email)),
  role text NOT NULL CHECK (role IN ('ADMIN', 'DIRECTOR', 'CREDIT_MANAGER', 'AR_ACCOUNTANT', 'SALES', 'AUDITOR', 'BI_READER')),
  token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
  expires_at timestamptz NOT NULL,
  invited_at timestamptz NOT NULL DEFAULT now(),
  invited_by text NOT NULL,
  accepted_at timestamptz,
  revoked_at timestamptz,
  PRIMARY KEY (company_id, id),
  CHECK (accepted_at IS NULL OR revoked_at IS NULL)
);
-- Nobody is invited twice at a time.
CREATE UNIQUE INDEX invitations_pending ON invitations (company_id, email) WHERE accepted_at IS NULL AND revoked_at IS NULL;

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['service_accounts', 'invitations']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY company ON %I USING (company_id = (SELECT nullif(current_setting(''encours.company'', true), '''')::uuid))', t);
    EXECUTE format('CREATE POLICY migrator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

-- The companies of a person, by name: across the wall, but names and roles only.
CREATE FUNCTION companies_of(person uuid) RETURNS TABLE (company_id uuid, name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.company_id, c.name, m.role
  FROM public.memberships m JOIN public.companies c ON c.company_id = m.company_id
  WHERE m.user_id = person AND m.ended_at IS NULL
  ORDER BY c.name, c.company_id
$$;
REVOKE ALL ON FUNCTION companies_of(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION companies_of(uuid) TO encours_app;

GRANT SELECT, INSERT, DELETE ON sessions, refresh_tokens TO encours_app;
GRANT UPDATE (expires_at, revoked_at, revoked_for) ON sessions TO encours_app;
GRANT UPDATE (used_at, used_by) ON refresh_tokens TO encours_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON login_attempts TO encours_app;
GRANT SELECT, INSERT ON service_accounts, invitations TO encours_app;
GRANT UPDATE (key_hash, expires_on, rotated_at, last_used_at, revoked_at, revoked_by) ON service_accounts TO encours_app;
GRANT UPDATE (accepted_at, revoked_at) ON invitations TO encours_app;

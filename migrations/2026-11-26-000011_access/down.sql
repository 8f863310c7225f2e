DROP FUNCTION companies_of(uuid);
DROP TABLE invitations, service_accounts, login_attempts, refresh_tokens, sessions;

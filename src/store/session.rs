//! People's sessions, their refresh tokens, and the guesses at passwords. Reference data, like memberships:
//! what is asked here is asked before there is a caller.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::now;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::schema::{login_attempts, refresh_tokens, sessions};
use crate::domain::ids::{CompanyId, SessionId, UserId};

/// A log-in to one company.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    pub id: SessionId,
    /// The first session of those that were opened from one another; they end together.
    pub origin_id: SessionId,
    pub user_id: UserId,
    pub company_id: CompanyId,
    pub expires_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_for: Option<String>,
}

/// A refresh token as it is kept.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = refresh_tokens)]
pub struct RefreshToken {
    pub session_id: SessionId,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub used_by: Option<Vec<u8>>,
}

/// Why sessions end before their time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The person left.
    Logout,
    /// A refresh token came a second time.
    Reuse,
    /// The password was changed.
    Password,
    /// The membership ended or its role changed.
    Membership,
    /// The person was disabled.
    Disabled,
}

impl Reason {
    fn code(self) -> &'static str {
        match self {
            Reason::Logout => "LOGOUT",
            Reason::Reuse => "REUSE",
            Reason::Password => "PASSWORD",
            Reason::Membership => "MEMBERSHIP",
            Reason::Disabled => "DISABLED",
        }
    }
}

/// Opens a session.
pub fn insert(conn: &mut PgConnection, row: &SessionRow) -> QueryResult<()> {
    diesel::insert_into(sessions::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// A session, running or not.
pub fn find(conn: &mut PgConnection, id: SessionId) -> QueryResult<Option<SessionRow>> {
    sessions::table
        .find(id)
        .select(SessionRow::as_select())
        .first(conn)
        .optional()
}

/// Keeps a refresh token by its digest, and the session for as long as the token.
pub fn insert_token(
    conn: &mut PgConnection,
    hash: &[u8],
    session: SessionId,
    expires_at: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::hash.eq(hash),
            refresh_tokens::session_id.eq(session),
            refresh_tokens::expires_at.eq(expires_at),
        ))
        .execute(conn)?;
    diesel::update(sessions::table.find(session))
        .set(sessions::expires_at.eq(expires_at))
        .execute(conn)
        .map(drop)
}

/// Uses a refresh token up: of two that try at once, one is told that it did.
pub fn use_token(conn: &mut PgConnection, hash: &[u8], by: &[u8]) -> QueryResult<bool> {
    diesel::update(refresh_tokens::table.find(hash))
        .filter(
            refresh_tokens::used_at
                .is_null()
                .and(refresh_tokens::expires_at.gt(now)),
        )
        .set((
            refresh_tokens::used_at.eq(now),
            refresh_tokens::used_by.eq(by),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// A refresh token by its digest, used or not.
pub fn token(conn: &mut PgConnection, hash: &[u8]) -> QueryResult<Option<RefreshToken>> {
    refresh_tokens::table
        .find(hash)
        .select(RefreshToken::as_select())
        .first(conn)
        .optional()
}

/// Ends a session and those opened from the same log-in.
pub fn revoke_origin(
    conn: &mut PgConnection,
    origin: SessionId,
    reason: Reason,
) -> QueryResult<usize> {
    diesel::update(sessions::table)
        .filter(
            sessions::origin_id
                .eq(origin)
                .and(sessions::revoked_at.is_null()),
        )
        .set((
            sessions::revoked_at.eq(now),
            sessions::revoked_for.eq(reason.code()),
        ))
        .execute(conn)
}

/// Ends the sessions of a person, but for those of one log-in.
pub fn revoke_user(
    conn: &mut PgConnection,
    user: UserId,
    but: Option<SessionId>,
    reason: Reason,
) -> QueryResult<usize> {
    let but = but.unwrap_or(SessionId(uuid::Uuid::nil()));
    diesel::update(sessions::table)
        .filter(
            sessions::user_id
                .eq(user)
                .and(sessions::revoked_at.is_null())
                .and(sessions::origin_id.ne(but)),
        )
        .set((
            sessions::revoked_at.eq(now),
            sessions::revoked_for.eq(reason.code()),
        ))
        .execute(conn)
}

/// Ends the sessions of a person in one company.
pub fn revoke_member(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
    reason: Reason,
) -> QueryResult<usize> {
    diesel::update(sessions::table)
        .filter(
            sessions::user_id
                .eq(user)
                .and(sessions::company_id.eq(company))
                .and(sessions::revoked_at.is_null()),
        )
        .set((
            sessions::revoked_at.eq(now),
            sessions::revoked_for.eq(reason.code()),
        ))
        .execute(conn)
}

/// The sessions revoked within the last two hours: no access token lives as long.
pub fn revoked_lately(conn: &mut PgConnection) -> QueryResult<Vec<SessionId>> {
    sessions::table
        .filter(sessions::revoked_at.gt(Utc::now() - TimeDelta::hours(2)))
        .select(sessions::id)
        .load(conn)
}

/// Removes a person's sessions that ended a month ago, with their tokens.
pub fn purge(conn: &mut PgConnection, user: UserId) -> QueryResult<usize> {
    diesel::delete(sessions::table)
        .filter(
            sessions::user_id
                .eq(user)
                .and(sessions::expires_at.lt(Utc::now() - TimeDelta::days(30))),
        )
        .execute(conn)
}

/// Failures of a subject, an e-mail address or a network address, known by its digest.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = login_attempts)]
pub struct Attempts {
    pub failures: i32,
    pub last_at: DateTime<Utc>,
    pub blocked_until: Option<DateTime<Utc>>,
}

/// The failures of a subject, locked until the transaction ends; a subject that is not known yet has none.
pub fn attempts_for_update(conn: &mut PgConnection, subject: &[u8]) -> QueryResult<Attempts> {
    diesel::insert_into(login_attempts::table)
        .values((
            login_attempts::subject.eq(subject),
            login_attempts::failures.eq(0),
            login_attempts::last_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(conn)?;
    login_attempts::table
        .find(subject)
        .select(Attempts::as_select())
        .for_no_key_update()
        .first(conn)
}

/// Keeps the failures of a subject.
pub fn save_attempts(
    conn: &mut PgConnection,
    subject: &[u8],
    attempts: Attempts,
) -> QueryResult<()> {
    diesel::update(login_attempts::table.find(subject))
        .set((
            login_attempts::failures.eq(attempts.failures),
            login_attempts::last_at.eq(attempts.last_at),
            login_attempts::blocked_until.eq(attempts.blocked_until),
        ))
        .execute(conn)
        .map(drop)
}

/// Takes one failure of a subject back, and the wait that it caused.
pub fn forgive_one(conn: &mut PgConnection, subject: &[u8]) -> QueryResult<()> {
    diesel::update(login_attempts::table.find(subject))
        .filter(login_attempts::failures.gt(0))
        .set((
            login_attempts::failures.eq(login_attempts::failures - 1),
            login_attempts::blocked_until.eq(None::<DateTime<Utc>>),
        ))
        .execute(conn)
        .map(drop)
}

/// Forgets the failures of a subject, and those of anybody that are older than a day.
pub fn forget(conn: &mut PgConnection, subject: &[u8]) -> QueryResult<()> {
    diesel::delete(login_attempts::table)
        .filter(
            login_attempts::subject
                .eq(subject)
                .or(login_attempts::last_at.lt(Utc::now() - TimeDelta::days(1))),
        )
        .execute(conn)
        .map(drop)
}

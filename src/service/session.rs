//! Sessions of people: opened, refreshed, ended; and how guesses at passwords are slowed down.
//!
//! These work before there is a caller: on reference data only, in a transaction without a company.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use super::secret;
use crate::domain::access::Role;
use crate::domain::ids::{CompanyId, Id, SessionId, UserId};
use crate::domain::lockout;
use crate::error::{Error, Result};
use crate::store;
use crate::store::member::Member;
use crate::store::session::{Reason, SessionRow};

/// Mark of a refresh token.
const MARK: &str = "encr_";

/// A session with a fresh refresh token.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The session that access tokens name.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The company that it opens.
    pub company: CompanyId,
    /// The refresh token: given out, not kept.
    pub refresh: String,
    /// Its last moment.
    pub refresh_expires_at: DateTime<Utc>,
}

/// How long refresh tokens live, and how strict their rotation is.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Life of a refresh token.
    pub refresh_ttl: Duration,
    /// How long a token that was used may come again from the same client: zero is strict.
    pub grace: Duration,
}

/// What became of a refresh token.
pub enum Rotation {
    /// It was exchanged.
    Granted {
        /// The session goes on.
        opened: Opened,
        /// What its person is now.
        member: Box<Member>,
    },
    /// It is unknown, too old, of a revoked session or of somebody who left.
    Refused,
    /// It came a second time: the sessions of that log-in have ended.
    Stolen,
}

/// Opens a company to one of its members, who is answered; `None` for anybody else. `origin` is the first
/// session of the log-in that this one belongs to.
///
/// The membership is locked: whoever ends it at this moment finds the session, or the session is not opened.
pub fn open(
    conn: &mut PgConnection,
    user: UserId,
    company: CompanyId,
    origin: Option<SessionId>,
    terms: Terms,
) -> Result<Option<(Opened, Member)>> {
    let Some(member) = store::member::member_for_share(conn, company, user)? else {
        return Ok(None);
    };
    let id = SessionId::new();
    store::session::purge(conn, user)?;
    let expires_at = Utc::now() + terms.refresh_ttl;
    let row = SessionRow {
        id,
        origin_id: origin.unwrap_or(id),
        user_id: user,
        company_id: company,
        expires_at,
        revoked_at: None,
        revoked_for: None,
    };
    store::session::insert(conn, &row)?;
    Ok(Some((issue(conn, &row, terms)?, member)))
}

fn issue(conn: &mut PgConnection, session: &SessionRow, terms: Terms) -> Result<Opened> {
    let refresh = format!("{MARK}{}", secret::fresh());
    let refresh_expires_at = Utc::now() + terms.refresh_ttl;
    let hash = secret::digest(&refresh);
    store::session::insert_token(conn, &hash, session.id, refresh_expires_at)?;
    Ok(Opened {
        session: session.id,
        user: session.user_id,
        company: session.company_id,
        refresh,
        refresh_expires_at,
    })
}

/// Exchanges a refresh token for the next one. `client` is a digest of who sends it.
///
/// A token works once. The second time its session, and all of the same log-in, end: either the first or
/// the second use was a thief's. Within the grace the same client may have lost the answer to the first.
pub fn rotate(
    conn: &mut PgConnection,
    text: &str,
    client: &[u8],
    terms: Terms,
) -> Result<Rotation> {
    let hash = secret::digest(text);
    let first = store::session::use_token(conn, &hash, client)?;
    let Some(token) = store::session::token(conn, &hash)? else {
        return Ok(Rotation::Refused);
    };
    let Some(session) = store::session::find(conn, token.session_id)? else {
        return Ok(Rotation::Refused);
    };
    if !first {
        let Some(used_at) = token.used_at else {
            return Ok(Rotation::Refused);
        };
        let by_same = token.used_by.as_deref() == Some(client);
        let since = Utc::now().signed_duration_since(used_at).to_std();
        let repeated = by_same && since.unwrap_or_default() < terms.grace;
        if !repeated {
            store::session::revoke_origin(conn, session.origin_id, Reason::Reuse)?;
            return Ok(Rotation::Stolen);
        }
    }
    if session.revoked_at.is_some() {
        return Ok(Rotation::Refused);
    }
    let member = store::member::member_for_share(conn, session.company_id, session.user_id)?;
    let Some(member) = member else {
        return Ok(Rotation::Refused);
    };
    Ok(Rotation::Granted {
        opened: issue(conn, &session, terms)?,
        member: Box::new(member),
    })
}

/// The role of a member.
pub fn role_of(member: &Member) -> Result<Role> {
    Role::read(&member.role).ok_or_else(|| Error::Internal(format!("stored role {}", member.role)))
}

/// Ends the log-in of a session, in every company.
pub fn log_out(conn: &mut PgConnection, id: SessionId) -> Result<()> {
    if let Some(session) = store::session::find(conn, id)? {
        store::session::revoke_origin(conn, session.origin_id, Reason::Logout)?;
    }
    Ok(())
}

/// The session that a refresh token belongs to, used or not.
pub fn session_of(conn: &mut PgConnection, text: &str) -> Result<Option<SessionRow>> {
    match store::session::token(conn, &secret::digest(text))? {
        Some(token) => Ok(store::session::find(conn, token.session_id)?),
        None => Ok(None),
    }
}

/// Opens another company to the person of a session; `None` when they do not belong there, or the session ended.
pub fn switch(
    conn: &mut PgConnection,
    from: SessionId,
    company: CompanyId,
    terms: Terms,
) -> Result<Option<(Opened, Member)>> {
    let session = store::session::find(conn, from)?.filter(|found| found.revoked_at.is_none());
    let Some(session) = session else {
        return Ok(None);
    };
    let origin = Some(session.origin_id);
    open(conn, session.user_id, company, origin, terms)
}

/// Sets another password and ends the person's sessions, but for the log-in of this one.
pub fn change_password(
    conn: &mut PgConnection,
    user: UserId,
    password_hash: &str,
    current: Option<SessionId>,
) -> Result<()> {
    store::member::set_password(conn, user, password_hash, None)?;
    let origin = match current {
        Some(id) => store::session::find(conn, id)?.map(|session| session.origin_id),
        None => None,
    };
    store::session::revoke_user(conn, user, origin, Reason::Password)?;
    Ok(())
}

/// Who guesses: digests, and how many failures each may have.
#[derive(Clone, Debug)]
pub struct Guess {
    address: Vec<u8>,
    email: Vec<u8>,
    address_limit: u32,
    email_limit: u32,
}

impl Guess {
    /// A guess at the password of an e-mail address, from a network address.
    pub fn new(email: &str, address: &str, email_limit: u32, address_limit: u32) -> Guess {
        Guess {
            address: secret::digest(&format!("address:{address}")),
            email: secret::digest(&format!("email:{}", email.trim().to_lowercase())),
            address_limit,
            email_limit,
        }
    }
}

/// Counts a guess as failed before it is looked at, so that guesses at once do not pass together. Answers
/// the seconds to wait when it is not to be looked at.
pub fn claim(conn: &mut PgConnection, guess: &Guess) -> Result<Option<u64>> {
    // Always in this order, or two guesses would wait for each other.
    let waits = claim_one(conn, &guess.address, guess.address_limit)?;
    match waits {
        Some(seconds) => Ok(Some(seconds)),
        None => claim_one(conn, &guess.email, guess.email_limit),
    }
}

fn claim_one(conn: &mut PgConnection, subject: &[u8], limit: u32) -> Result<Option<u64>> {
    let mut attempts = store::session::attempts_for_update(conn, subject)?;
    let now = Utc::now();
    if let Some(until) = attempts.blocked_until.filter(|until| *until > now) {
        let seconds = until.signed_duration_since(now).num_seconds() + 1;
        // A wait that is longer than the longest was set by a clock that has been put back since.
        if seconds <= lockout::LONGEST_SECONDS + 1 {
            return Ok(Some(seconds.unsigned_abs()));
        }
    }
    let idle = now.signed_duration_since(attempts.last_at).num_seconds();
    if idle > lockout::FORGET_SECONDS {
        attempts.failures = 0;
    }
    attempts.failures = attempts.failures.saturating_add(1);
    attempts.last_at = now;
    attempts.blocked_until = lockout::wait_seconds(attempts.failures.unsigned_abs(), limit)
        .map(|seconds| now + Duration::from_secs(seconds));
    store::session::save_attempts(conn, subject, attempts)?;
    Ok(None)
}

/// The seconds that further guesses at this e-mail address, or from this network address, have to wait now.
pub fn waits(conn: &mut PgConnection, guess: &Guess) -> Result<Option<u64>> {
    let now = Utc::now();
    let mut longest = None;
    for subject in [&guess.address, &guess.email] {
        let until = store::session::attempts_for_update(conn, subject)?.blocked_until;
        let left = until.map(|until| until.signed_duration_since(now).num_seconds() + 1);
        let left = left
            .and_then(|left| u64::try_from(left).ok())
            .filter(|left| *left > 0);
        longest = longest.max(left);
    }
    Ok(longest)
}

/// The guess was right: the e-mail address starts anew; the network address, which may guess at others,
/// gets this one back only.
pub fn forgive(conn: &mut PgConnection, guess: &Guess) -> Result<()> {
    store::session::forgive_one(conn, &guess.address)?;
    store::session::forget(conn, &guess.email)?;
    Ok(())
}

/// The guess was not looked at after all.
pub fn take_back(conn: &mut PgConnection, guess: &Guess) -> Result<()> {
    store::session::forgive_one(conn, &guess.address)?;
    store::session::forgive_one(conn, &guess.email)?;
    Ok(())
}

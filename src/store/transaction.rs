//! Transactions: each begins behind the wall of its company, is done whole or not at all, and is tried again after a
//! deadlock.

use std::time::Instant;

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::{audit, distribution, patience};
use crate::domain::access::Caller;
use crate::domain::audit::Origin;
use crate::error::Result;

/// Tries of a transaction that lost a deadlock.
const TRIES: u32 = 3;

/// The literal settings that row-level security reads: `SET LOCAL` also reaches the shards of a
/// distributed Postgres, `set_config` does not. Locks are waited for as long as the request has time.
pub(super) fn wall(caller: &Caller, until: Option<Instant>) -> String {
    let portfolio = caller
        .portfolio()
        .map(|user| user.0.to_string())
        .unwrap_or_default();
    let patience = until.map_or_else(String::new, |until| {
        let left = patience::left(until).as_millis();
        format!("; SET LOCAL lock_timeout = {left}")
    });
    let company = caller.company.0;
    let here = match distribution::is_spread() {
        true => format!("; SELECT must_lie_here('{company}')"),
        false => String::new(),
    };
    format!(
        "SET LOCAL encours.company = '{company}'; SET LOCAL encours.portfolio = '{portfolio}'{patience}{here}"
    )
}

pub(super) fn begin_read(
    conn: &mut PgConnection,
    caller: &Caller,
    until: Option<Instant>,
) -> Result<()> {
    // In one message: a question from memory asks little more of the database than this.
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}",
        wall(caller, until)
    );
    begun(conn, &begin)?;
    Ok(())
}

pub(super) fn write_on<T>(
    conn: &mut PgConnection,
    caller: &Caller,
    origin: &Origin,
    until: Option<Instant>,
    mut work: impl FnMut(&mut PgConnection, &Caller) -> Result<T>,
) -> Result<T> {
    let begin = || beginning(caller, origin, until);
    in_transaction(conn, begin, |conn| work(conn, caller))
}

/// The statements that begin a transaction of a caller, in one message, as a read begins.
pub(super) fn beginning(caller: &Caller, origin: &Origin, until: Option<Instant>) -> String {
    let (wall, time) = (wall(caller, until), our_time());
    format!("BEGIN; {wall}; {time}; {}", audit::stamp(caller, origin))
}

/// Begins a transaction by these statements; where one of them fails, none is left open.
pub(super) fn begun(conn: &mut PgConnection, begin: &str) -> QueryResult<()> {
    AnsiTransactionManager::begin_transaction_sql(conn, begin).inspect_err(|_| {
        // A connection on which this fails too is not taken back by the pool.
        conn.batch_execute("ROLLBACK").ok();
    })
}

/// A transaction that begins with these statements: done whole, or not at all.
pub(super) fn transaction<T>(
    conn: &mut PgConnection,
    begin: &str,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    begun(conn, begin)?;
    match work(conn) {
        Ok(done) => {
            AnsiTransactionManager::commit_transaction(conn)?;
            Ok(done)
        }
        Err(error) => match AnsiTransactionManager::rollback_transaction(conn) {
            Ok(()) | Err(diesel::result::Error::BrokenTransactionManager) => Err(error),
            Err(more) => Err(more.into()),
        },
    }
}

/// One transaction, tried again after a deadlock.
pub(super) fn in_transaction<T>(
    conn: &mut PgConnection,
    begin: impl Fn() -> String,
    mut work: impl FnMut(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let mut tries = 1;
    loop {
        match transaction(conn, &begin(), &mut work) {
            Err(error) if error.is_transient() && tries < TRIES => tries += 1,
            Err(error) if error.is_transient() => {
                return Err(crate::domain::refusal::Refusal::new(
                    crate::domain::refusal::RefusalCode::Conflict,
                    "",
                    "other changes of the same records were under way: send the request again",
                )
                .into());
            }
            other => return other,
        }
    }
}

/// Whether the database has the time that this process has: where not, nothing is written.
pub fn has_our_time(conn: &mut PgConnection) -> Result<bool> {
    match conn.batch_execute(&our_time()) {
        Ok(()) => Ok(true),
        Err(diesel::result::Error::DatabaseError(_, info)) if info.message().contains("clocks") => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// The statement that fails where the database has another time.
pub(super) fn our_time() -> String {
    format!("SELECT check_clock('{}')", chrono::Utc::now().to_rfc3339())
}

/// The name of a snapshot, by which other transactions read the same.
pub struct Snapshot(pub(super) String);

/// Names what the current transaction reads, for [`Db::read_beside`].
pub fn snapshot(conn: &mut PgConnection) -> QueryResult<Snapshot> {
    #[derive(QueryableByName)]
    struct Exported {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }
    let exported: Exported =
        diesel::sql_query("SELECT pg_export_snapshot() AS name").get_result(conn)?;
    Ok(Snapshot(exported.name))
}

/// The instant that the current transaction reads: what was recorded later is not seen.
pub fn snapshot_instant(conn: &mut PgConnection) -> QueryResult<chrono::DateTime<chrono::Utc>> {
    diesel::select(diesel::dsl::now.into_sql::<diesel::sql_types::Timestamptz>()).first(conn)
}

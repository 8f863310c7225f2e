//! How long a request waits for the database, all its waits together: for a place, for a connection, for locks.
//!
//! The time is one for the whole request, from its first wait, so that an overloaded or locked database is told
//! within seconds, whatever the request had to wait for. A connection that a crash has left behind is found before
//! anything is begun on it, so that nothing is ever tried twice that may have been done.

use std::cell::Cell;
use std::time::{Duration, Instant};

use diesel::RunQueryDsl;
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};
use diesel::sql_types::BigInt;

use crate::error::{Error, Result};

/// Longest pause between two tries to reach a database that is away, so that it is found soon after its return.
const RETURN: Duration = Duration::from_millis(250);
/// A connection that answered this lately is not asked whether it still holds.
const FRESH: Duration = Duration::from_millis(500);
/// So much later than it should a request may be told.
pub(super) const LATE: Duration = Duration::from_millis(500);
/// Shortest wait, however late it is.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) type Connection = PooledConnection<ConnectionManager<PgConnection>>;
pub(super) type Connections = Pool<ConnectionManager<PgConnection>>;

/// What the pool calls its waiting time: it pauses at most half of it between two tries to connect.
pub(super) const CONNECTING: Duration = RETURN.saturating_mul(2);

tokio::task_local! {
    static UNTIL: Cell<Option<Instant>>;
}

/// Runs a request whose waits share one time.
pub async fn shared<T>(request: impl Future<Output = T>) -> T {
    UNTIL.scope(Cell::new(None), request).await
}

/// Runs a part of the request that is not the database's doing, such as a body that comes slowly: it is not counted.
pub async fn paused<T>(part: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = part.await;
    // Beside a request nothing is counted.
    let _ = UNTIL.try_with(|until| until.set(until.get().map(|end| end + began.elapsed())));
    done
}

/// The end of the waiting of the request under way, which begins now if it has not begun.
pub(super) fn until(wait: Duration) -> Instant {
    let fresh = Instant::now() + wait;
    UNTIL
        .try_with(|until| {
            let end = until.get().unwrap_or(fresh);
            until.set(Some(end));
            end
        })
        .unwrap_or(fresh)
}

/// What is left of a waiting time.
pub(super) fn left(until: Instant) -> Duration {
    until
        .saturating_duration_since(Instant::now())
        .max(SHORTEST)
}

/// Takes what was spent since then on a lock off the wait for each further lock of the transaction: the database bounds
/// each wait alone, so that a transaction with two of them would take twice the time of a request.
pub(super) fn spend(conn: &mut PgConnection, since: Instant) -> Result<()> {
    let spent = since.elapsed();
    if spent < SHORTEST {
        return Ok(());
    }
    diesel::sql_query(
        "SELECT set_config('lock_timeout', greatest($1, (extract(epoch FROM current_setting('lock_timeout')::interval) * 1000)::bigint - $2)::text, true) \
         WHERE current_setting('lock_timeout') <> '0'",
    )
    .bind::<BigInt, _>(millis(SHORTEST))
    .bind::<BigInt, _>(millis(spent))
    .execute(conn)?;
    Ok(())
}

/// An expression that does so inside a statement, for the wait of the statement so far; a number.
pub(super) fn spent_in_statement() -> String {
    format!(
        "CASE WHEN clock_timestamp() - statement_timestamp() > '{shortest} ms' AND current_setting('lock_timeout') <> '0' THEN \
           length(set_config('lock_timeout', greatest({shortest}, 1000 * (extract(epoch FROM current_setting('lock_timeout')::interval) \
             - extract(epoch FROM clock_timestamp() - statement_timestamp())))::bigint::text, true)) ELSE 0 END",
        shortest = millis(SHORTEST),
    )
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// When a connection last answered to a ping. What was asked of it since does not count: it may have failed.
struct Answered(Instant);

/// A connection that answers: those that a crash of the database has left behind are dropped on the way.
pub(super) fn checkout(pool: &Connections, until: Instant) -> Result<Connection> {
    loop {
        let mut conn = pool
            .get_timeout(left(until))
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let extensions = PooledConnection::extensions(&conn);
        let answered = extensions.get::<Answered>().map(|answered| answered.0);
        if answered.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(conn);
        }
        // One that does not answer is known to be broken from then on, and goes with the end of this round.
        if conn.ping().is_ok() {
            PooledConnection::extensions_mut(&mut conn).insert(Answered(Instant::now()));
            return Ok(conn);
        }
        if Instant::now() > until {
            return Err(Error::Unavailable("database connection lost".into()));
        }
    }
}

/// A connection that nobody else wants just now, if there is one.
pub(super) fn spare(pool: &Connections) -> Option<Connection> {
    let state = pool.state();
    let may_grow = state.connections < pool.max_size();
    (state.idle_connections > 0 || may_grow)
        .then(|| checkout(pool, Instant::now() + CONNECTING).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_waits_of_a_request_end_at_once() {
        let wait = Duration::from_secs(5);
        let (first, second) = shared(async {
            let first = until(wait);
            tokio::time::sleep(Duration::from_millis(2)).await;
            (first, until(wait))
        })
        .await;
        assert_eq!(first, second);
        let (counted, paused_for) = shared(async {
            let before = until(wait);
            paused(tokio::time::sleep(Duration::from_millis(2))).await;
            (before, until(wait) - before)
        })
        .await;
        assert!(counted > first && paused_for >= Duration::from_millis(2));
        // Beside a request each wait is its own.
        let alone = until(wait);
        assert!(alone > first && until(wait) >= alone);
        assert_eq!(left(Instant::now()), SHORTEST);
    }
}

//! A streaming replica for reports: read there when it has all that matters to the caller, else on the primary.
//!
//! What matters is where the log stood at the caller's last write (read your writes), and where the primary stood a
//! little while ago (no report is older than that, whatever became of the replication). Whoever writes is told the
//! position, and may send it to another instance; this one remembers it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};

use super::patience::{Connection, checkout};
use crate::domain::access::Caller;
use crate::error::Result;

/// How far behind the primary a report may be, at most.
const BEHIND: Duration = Duration::from_secs(10);
/// How often the primary is asked where it stands, when reports are asked for.
const SAMPLE: Duration = Duration::from_secs(1);
/// How long a replica that failed is left alone.
const RELIEF: Duration = Duration::from_secs(5);
/// Longest wait for a connection to it: the primary is there, so it is short.
pub const WAIT: Duration = Duration::from_secs(1);
/// Callers whose writes are remembered.
const REMEMBERED: usize = 10_000;

/// A place in the log of the primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position(u64);

impl Position {
    /// Reads what Postgres writes, such as `16/B374D848`.
    pub fn read(text: &str) -> Option<Position> {
        let (high, low) = text.trim().split_once('/')?;
        let part = |text: &str| {
            let is_hex = !text.is_empty() && text.bytes().all(|it| it.is_ascii_hexdigit());
            is_hex.then(|| u32::from_str_radix(text, 16).ok()).flatten()
        };
        Some(Position(
            (u64::from(part(high)?) << 32) | u64::from(part(low)?),
        ))
    }

    /// As Postgres writes it.
    pub fn show(self) -> String {
        format!("{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// How a report was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// On the replica.
    Replica,
    /// On the primary: the replica has not come as far.
    Behind,
    /// On the primary: the replica does not answer.
    Away,
}

impl Route {
    /// For figures and probes.
    pub fn code(self) -> &'static str {
        match self {
            Route::Replica => "replica",
            Route::Behind => "behind",
            Route::Away => "away",
        }
    }
}

/// The replica.
pub struct Replica {
    pool: Pool<ConnectionManager<PgConnection>>,
    failed: Mutex<Option<Instant>>,
    written: Mutex<HashMap<String, Position>>,
    primary: Mutex<VecDeque<(Instant, Position)>>,
    /// When the primary was last asked; whoever holds it is asking.
    asked: Mutex<Option<Instant>>,
    /// How reports were read.
    routes: Mutex<HashMap<&'static str, u64>>,
}

/// A lock that a panic left behind guards nothing that could be half done here.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replica {
    /// Connections are made when first needed.
    pub fn new(pool: Pool<ConnectionManager<PgConnection>>) -> Replica {
        Replica {
            pool,
            failed: Mutex::default(),
            written: Mutex::default(),
            primary: Mutex::default(),
            asked: Mutex::default(),
            routes: Mutex::default(),
        }
    }

    /// Remembers that a caller has written up to here.
    pub fn wrote(&self, caller: &Caller, position: Position) {
        let mut written = held(&self.written);
        if written.len() >= REMEMBERED {
            // The replica has long had the older half.
            let mut positions: Vec<_> = written.values().copied().collect();
            positions.sort_unstable();
            let middle = positions[positions.len() / 2];
            written.retain(|_, position| *position > middle);
        }
        let last = written.entry(key(caller)).or_insert(position);
        *last = position.max(*last);
    }

    /// A connection that shows at least what this caller has written, and what they say they have seen.
    ///
    /// `primary` is asked now and then where it stands. None when the report is to be read there.
    pub fn connection(
        &self,
        caller: &Caller,
        seen: Option<Position>,
        primary: &Pool<ConnectionManager<PgConnection>>,
    ) -> Option<Connection> {
        let (route, conn) = self.routed(caller, seen, primary);
        *held(&self.routes).entry(route.code()).or_default() += 1;
        conn
    }

    fn routed(
        &self,
        caller: &Caller,
        seen: Option<Position>,
        primary: &Pool<ConnectionManager<PgConnection>>,
    ) -> (Route, Option<Connection>) {
        if held(&self.failed).is_some_and(|at| at.elapsed() < RELIEF) {
            return (Route::Away, None);
        }
        let wanted = held(&self.written)
            .get(&key(caller))
            .copied()
            .max(seen)
            .max(self.floor(primary));
        match self.replayed() {
            Ok((conn, Some(replayed))) if wanted.is_none_or(|wanted| replayed >= wanted) => {
                (Route::Replica, Some(conn))
            }
            Ok(_) => (Route::Behind, None),
            Err(error) => {
                tracing::warn!(%error, "the replica does not answer: reports are read on the primary");
                *held(&self.failed) = Some(Instant::now());
                (Route::Away, None)
            }
        }
    }

    /// What the replica has: nothing when it is not one.
    fn replayed(&self) -> Result<(Connection, Option<Position>)> {
        let mut conn = checkout(&self.pool, Instant::now() + WAIT)?;
        let sql = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END AS position";
        let position = ask(&mut conn, sql)?;
        Ok((conn, position))
    }

    /// Where the primary stood at least [`BEHIND`] ago; at first, where it stands.
    fn floor(&self, primary: &Pool<ConnectionManager<PgConnection>>) -> Option<Position> {
        self.sample(primary);
        let mut samples = held(&self.primary);
        while samples.get(1).is_some_and(|(at, _)| at.elapsed() >= BEHIND) {
            samples.pop_front();
        }
        samples.front().map(|(_, position)| *position)
    }

    /// Asks the primary where it stands, when it is time. One asks, and nobody waits for them: a primary that is away
    /// keeps nobody from the replica.
    fn sample(&self, primary: &Pool<ConnectionManager<PgConnection>>) {
        let Ok(mut asked) = self.asked.try_lock() else {
            return;
        };
        if asked.is_some_and(|at| at.elapsed() < SAMPLE) {
            return;
        }
        let at = Instant::now();
        if let Ok(Some(position)) =
            checkout(primary, Instant::now() + WAIT).and_then(|mut conn| position(&mut conn))
        {
            held(&self.primary).push_back((at, position));
        }
        *asked = Some(Instant::now());
    }

    /// How the replica is now.
    pub fn state(&self) -> Route {
        match self.replayed() {
            Ok((_, Some(_))) => Route::Replica,
            Ok((_, None)) | Err(_) => Route::Away,
        }
    }

    /// How many reports were read where.
    pub fn routes(&self) -> Vec<(&'static str, u64)> {
        held(&self.routes)
            .iter()
            .map(|(route, count)| (*route, *count))
            .collect()
    }
}

/// Where a primary stands: everything committed there is before it.
pub fn position(conn: &mut PgConnection) -> Result<Option<Position>> {
    ask(conn, "SELECT pg_current_wal_insert_lsn()::text AS position")
}

fn ask(conn: &mut PgConnection, sql: &str) -> Result<Option<Position>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
        position: Option<String>,
    }
    let found: Found = diesel::sql_query(sql).get_result(conn)?;
    Ok(found.position.as_deref().and_then(Position::read))
}

/// A person or a script in a company, whatever tokens it holds.
fn key(caller: &Caller) -> String {
    match caller.user {
        Some(user) => format!("{}/{}", caller.company.0, user.0),
        None => format!(
            "{}/{}/{}",
            caller.company.0,
            caller.author,
            caller.role.code()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_as_the_log_is() {
        let read = |text| Position::read(text).expect("a position");
        assert!(read("0/FF") < read("0/100"));
        assert!(read("0/FFFFFFFF") < read("1/0"));
        assert_eq!(read("16/B374D848").show(), "16/B374D848");
        assert_eq!(read("16/b374d848"), read("16/B374D848"));
        for bad in ["", "16", "/", "16/", "G/0", "1/100000000", "+1/0", "1/2/3"] {
            assert_eq!(Position::read(bad), None, "{bad}");
        }
    }
}

//! The pool of connections, and work that no request asks for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::distribution;
use super::gather::Gathering;
use super::patience::{self, Connection, Connections, checkout};
use super::replica::{Position, Replica};
use super::request::{Report, Session};
use super::revocation;
use super::transaction::{
    Snapshot, begin_read, beginning, begun, in_transaction, transaction, wall, write_on,
};
use crate::domain::access::Caller;
use crate::domain::audit::Origin;
use crate::error::{Error, Result};

/// Longest wait for a lock of a statement that is not told how long its request has.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);
/// For work in the background that reads a whole history: of one company, so that an index that begins with it is worth
/// more than reading all.
const AT_LENGTH: &str = "SET LOCAL statement_timeout = '10min'; SET LOCAL idle_in_transaction_session_timeout = '10min'; \
   SET LOCAL enable_seqscan = off";

/// How long the statements of a transaction may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limits {
    /// As long as those of requests.
    Usual,
    /// Minutes, as [`Db::read_now_at_length`] has it.
    AtLength,
}

/// How to reach the database as the serving role.
#[derive(Clone, Debug)]
pub struct Settings {
    /// libpq connection string.
    pub url: String,
    /// Whether to step down to the serving role after connecting (the url logs in as the migrator).
    pub set_role: bool,
    /// Connections, and so operations at once.
    pub pool_size: u32,
    /// Longest run of one statement.
    pub statement_timeout: Duration,
    /// Longest wait for a free connection.
    pub wait: Duration,
    /// libpq connection string of a streaming replica, for reports.
    pub replica_url: Option<String>,
}

impl Settings {
    /// The usual figures for a database at `url`.
    pub fn new(url: String, set_role: bool) -> Settings {
        Settings {
            url,
            set_role,
            pool_size: 8,
            statement_timeout: Duration::from_secs(8),
            wait: Duration::from_secs(5),
            replica_url: None,
        }
    }
}

/// The database as the serving role sees it. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pub(super) pool: Connections,
    // One permit per connection: a task that holds one never waits inside the pool.
    permits: Arc<Semaphore>,
    // Of them, those for reads that are over at once: many of these at a time leave others waiting for a processor.
    pub(super) alone: Arc<Semaphore>,
    pub(super) wait: Duration,
    pub(super) revoked: Arc<revocation::Revoked>,
    // What the audit trail says of writes that no session makes.
    origin: Arc<Origin>,
    pub(super) replica: Option<Arc<Replica>>,
    pub(super) gathering: Arc<Gathering>,
}

#[derive(Clone, Copy, Debug)]
struct Prepare {
    set_role: bool,
    statement_timeout: Duration,
}

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Prepare {
    fn on_acquire(&self, conn: &mut PgConnection) -> std::result::Result<(), diesel::r2d2::Error> {
        let role = if self.set_role {
            "SET ROLE encours_app;"
        } else {
            ""
        };
        let sql = format!(
            "{role} SET TIME ZONE 'UTC'; SET statement_timeout = {}; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = '60s'; SET jit = off; SET lc_messages = 'C';",
            self.statement_timeout.as_millis(),
            LOCK_WAIT.as_millis()
        );
        // Compiling a query costs more than these run for. lc_messages needs a superuser before Postgres 15: errors are then read in the server's language.
        conn.batch_execute(&sql)
            .or_else(|_| conn.batch_execute(&sql.replace("SET lc_messages = 'C';", "")))
            .and_then(|()| distribution::look(conn))
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

impl Db {
    /// A pool for the serving role; connections are made when first needed.
    pub fn open(settings: &Settings) -> Db {
        let prepare = Prepare {
            set_role: settings.set_role,
            statement_timeout: settings.statement_timeout,
        };
        let pool = |url: &str, tested: bool| {
            Pool::builder()
                .max_size(settings.pool_size)
                .min_idle(Some(0))
                .test_on_check_out(tested)
                .connection_timeout(patience::CONNECTING)
                .connection_customizer(Box::new(prepare))
                .build_unchecked(ConnectionManager::new(url))
        };
        let replica = settings.replica_url.as_deref();
        Db {
            pool: pool(&settings.url, false),
            // It may be restarted at any time: a connection from before is not worth a report.
            replica: replica.map(|url| Arc::new(Replica::new(pool(url, true)))),
            permits: Arc::new(Semaphore::new(settings.pool_size as usize)),
            alone: Arc::new(Semaphore::new(settings.pool_size.div_ceil(3) as usize)),
            wait: settings.wait,
            revoked: Arc::default(),
            origin: Arc::default(),
            gathering: Arc::default(),
        }
    }

    /// The same for work on behalf of a request: the audit trail says where that came from.
    #[must_use]
    pub fn coming_from(&self, origin: Origin) -> Db {
        Db {
            origin: Arc::new(origin),
            ..self.clone()
        }
    }

    /// A session for one request of one caller, which comes from nowhere in particular.
    pub fn session(&self, caller: Caller) -> Session {
        self.session_from(caller, Origin::default())
    }

    /// A session for one request of one caller; the audit trail says where it came from.
    pub fn session_from(&self, caller: Caller, origin: Origin) -> Session {
        self.session_of(caller, origin, None)
    }

    /// A session that reads reports: on the replica, when there is one and it shows what the caller has written and
    /// what they say they have seen. It may write too, on the primary.
    pub fn report_session(
        &self,
        caller: Caller,
        origin: Origin,
        seen: Option<Position>,
    ) -> Session {
        self.session_of(caller, origin, Some(Report { seen }))
    }

    fn session_of(&self, caller: Caller, origin: Origin, report: Option<Report>) -> Session {
        let report = report.filter(|_| self.replica.is_some());
        Session::of(self.clone(), caller, origin, report)
    }

    /// The replica, when there is one.
    pub fn replica(&self) -> Option<&Arc<Replica>> {
        self.replica.as_ref()
    }

    /// Runs `work` without a caller, outside any company: log-in and health only.
    pub async fn anonymous<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        let until = patience::until(self.wait);
        let permit = self.permit(until).await?;
        let pool = self.pool.clone();
        let (result, _) = blocking(move || {
            let mut conn = checkout(&pool, until)?;
            Ok((work(&mut conn), permit))
        })
        .await?;
        result
    }

    /// Runs `work` without a caller, outside any company, on this thread: for background jobs.
    pub fn anonymous_now<T>(&self, work: impl FnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        work(&mut *self.taken()?)
    }

    /// The same in one transaction: sessions, and guesses at passwords.
    pub async fn anonymous_write<T, F>(&self, mut work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        self.anonymous(move |conn| in_transaction(conn, || "BEGIN".into(), |conn| work(conn)))
            .await
    }

    /// Connections in use by requests, and how many there may be.
    pub fn connections(&self) -> (u32, u32) {
        let most = self.pool.max_size();
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        (most.saturating_sub(free), most)
    }

    /// A place in the pool for work that runs beside the requests, such as an import.
    pub async fn reserve(&self) -> Result<OwnedSemaphorePermit> {
        self.permit(patience::until(self.wait)).await
    }

    /// Another one, if most are free now: for work that goes faster with two, and leaves enough to the requests.
    pub fn spare(&self) -> Option<OwnedSemaphorePermit> {
        let (free, all) = (self.permits.available_permits(), self.pool.max_size());
        if 2 * free <= all as usize {
            return None;
        }
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    pub(super) async fn permit(&self, until: Instant) -> Result<OwnedSemaphorePermit> {
        permitted(&self.permits, until).await
    }

    /// Runs `work` when no other instance holds the lock, on this thread. The lock is the connection's, not a
    /// transaction's: nothing is held back by it, and an instance that dies lets go of it.
    pub fn leading(&self, lock: i64, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut conn = self.taken()?;
        if !holds(&mut conn, TAKE, lock)? {
            return Ok(());
        }
        let done = work();
        let released = holds(&mut conn, RELEASE, lock)?;
        match done {
            Ok(()) if !released => Err(Error::Internal("a lock was lost".into())),
            done => done,
        }
    }

    /// Runs `work` in one transaction of `caller`, on this thread: for the command line and background jobs.
    pub fn write_now<T>(
        &self,
        caller: &Caller,
        work: impl FnMut(&mut PgConnection, &Caller) -> Result<T>,
    ) -> Result<T> {
        write_on(&mut *self.taken()?, caller, &self.origin, None, work)
    }

    /// The same once: whoever loses a race is told so, by an error that [is transient](Error::is_transient).
    pub fn try_now<T>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&mut PgConnection, &Caller) -> Result<T>,
    ) -> Result<T> {
        let begin = beginning(caller, &self.origin, None);
        transaction(&mut *self.taken()?, &begin, |conn| work(conn, caller))
    }

    /// Runs `work` on one read-only snapshot of `caller`, on this thread: for the command line and background jobs.
    pub fn read_now<T>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&mut PgConnection, &Caller) -> Result<T>,
    ) -> Result<T> {
        let mut conn = self.taken()?;
        begin_read(&mut conn, caller, None)?;
        let result = work(&mut conn, caller);
        AnsiTransactionManager::rollback_transaction(&mut *conn)?;
        result
    }

    /// The same for work in the background that reads a whole history: a statement may take minutes.
    pub fn read_now_at_length<T>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&mut PgConnection, &Caller) -> Result<T>,
    ) -> Result<T> {
        self.read_now(caller, |conn, caller| {
            conn.batch_execute(AT_LENGTH)?;
            work(conn, caller)
        })
    }

    /// The same on a snapshot of another transaction, which stays open meanwhile; none when no connection is free or
    /// the snapshot cannot be had. Of a pool whose connections nobody counts, or with a place in it ([`Db::spare`]).
    /// Statements run as long as those of the other transaction may.
    pub fn read_beside<T>(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        limits: Limits,
        work: impl FnOnce(&mut PgConnection) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(mut conn) = patience::spare(&self.pool) else {
            return Ok(None);
        };
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'; {}; {}",
            snapshot.0,
            wall(caller, None),
            match limits {
                Limits::Usual => "",
                Limits::AtLength => AT_LENGTH,
            }
        );
        if let Err(error) = begun(&mut conn, &begin) {
            // Such as a connection to another server than the first one's.
            tracing::debug!(%error, "a snapshot is read over one connection");
            return Ok(None);
        }
        let result = work(&mut conn);
        AnsiTransactionManager::rollback_transaction(&mut *conn)?;
        result.map(Some)
    }

    /// A connection for work on this thread.
    pub(super) fn taken(&self) -> Result<Connection> {
        checkout(&self.pool, Instant::now() + self.wait)
    }
}

pub(super) async fn permitted(
    places: &Arc<Semaphore>,
    until: Instant,
) -> Result<OwnedSemaphorePermit> {
    tokio::time::timeout_at(until.into(), Arc::clone(places).acquire_owned())
        .await
        .map_err(|_| Error::Unavailable("all connections are busy".into()))?
        .map_err(|_| Error::Unavailable("shutting down".into()))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(format!("a database task ended: {error}")))?
}

/// Takes a lock of the connection's, if it is free.
pub(super) const TAKE: &str = "SELECT pg_try_advisory_lock($1) AS held";
/// Gives it back, if the connection has it.
pub(super) const RELEASE: &str = "SELECT pg_advisory_unlock($1) AS held";

/// Whether the connection had the lock when it was taken or given back.
pub(super) fn holds(conn: &mut PgConnection, how: &str, lock: i64) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Held {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        held: bool,
    }
    let row: Held = diesel::sql_query(how)
        .bind::<diesel::sql_types::BigInt, _>(lock)
        .get_result(conn)?;
    Ok(row.held)
}

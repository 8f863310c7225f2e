//! The records, and the two doors to them.
//!
//! [`Session::read`] is one read-only snapshot for a whole query document; [`Session::write`] is one
//! transaction. Both first set the company (and a sales person's portfolio) for row-level security,
//! and nothing else opens a transaction on behalf of a caller.

pub mod account;
pub mod aging;
pub mod approval;
pub mod audit;
pub mod balances;
pub mod bank;
mod bulk;
pub mod change;
pub mod chart;
pub mod client;
pub mod collection;
pub mod company;
pub mod dispute;
pub mod document;
pub mod doubtful;
pub mod dunning;
pub mod dunning_run;
pub mod export;
pub mod fec;
pub mod file;
pub mod foreseen;
pub mod gather;
pub mod idempotency;
pub mod imports;
pub mod integrity;
pub mod item;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod list;
pub mod litigation;
pub mod mail;
pub mod matching;
pub mod member;
pub mod nested;
pub mod numbering;
pub mod operation;
pub mod patience;
pub mod payment;
pub mod penalty;
pub mod personal;
pub mod provision;
pub mod provision_run;
pub mod remittance;
pub mod replica;
mod revocation;
pub mod schema;
pub mod session;
mod sql_types;
pub mod task;
mod watch;
pub mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::{
    AnsiTransactionManager, Connection as _, SimpleConnection, TransactionManager,
};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use patience::{Connection, Connections, checkout};

pub use diesel::pg::PgConnection as Conn;

use crate::domain::access::Caller;
use crate::domain::audit::Origin;
use crate::domain::ids::CompanyId;
use crate::error::{Error, Result};
use crate::telemetry::{self, Kind};
use gather::{Gathering, Outcome, Ready, Turn, Waiting};
use replica::{Position, Replica};
use watch::Watch;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Any constant: every instance that starts takes the same lock before it migrates.
const MIGRATION_LOCK: i64 = 0x0065_6e63_6f75_7273;
/// Pause between two questions whether another instance has done migrating.
const MIGRATION_TURN: Duration = Duration::from_millis(200);
/// Longest wait of a migration for a table.
const MIGRATION_LOCK_WAIT: Duration = Duration::from_secs(3);
/// Pause before it is tried again.
const MIGRATION_PAUSE: Duration = Duration::from_secs(2);
/// Tries of a migration that does not get its table.
const MIGRATION_TRIES: u32 = 20;
/// Longest wait for a lock of a statement that is not told how long its request has.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// For work in the background that reads a whole history: of one company, so that an index that begins with it is worth
/// more than reading all.
const AT_LENGTH: &str = "SET LOCAL statement_timeout = '10min'; SET LOCAL idle_in_transaction_session_timeout = '10min'; \
   SET LOCAL enable_seqscan = off";
/// Tries of a transaction that lost a deadlock.
const TRIES: u32 = 3;

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
    pool: Connections,
    // One permit per connection: a task that holds one never waits inside the pool.
    permits: Arc<Semaphore>,
    // Of them, those for reads that are over at once: many of these at a time leave others waiting for a processor.
    alone: Arc<Semaphore>,
    wait: Duration,
    revoked: Arc<revocation::Revoked>,
    // What the audit trail says of writes that no session makes.
    origin: Arc<Origin>,
    replica: Option<Arc<Replica>>,
    gathering: Arc<Gathering>,
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
        Session {
            inner: Arc::new(Inner {
                db: self.clone(),
                caller,
                report: report.filter(|_| self.replica.is_some()),
                slot: Mutex::new(Slot::default()),
                watch: Arc::default(),
                position: std::sync::Mutex::default(),
                personal: AtomicU32::default(),
            }),
            origin: Arc::new(origin),
        }
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

    async fn permit(&self, until: Instant) -> Result<OwnedSemaphorePermit> {
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
    /// the snapshot cannot be had. Of a pool whose connections nobody counts.
    pub fn read_beside<T>(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        work: impl FnOnce(&mut PgConnection) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(mut conn) = patience::spare(&self.pool) else {
            return Ok(None);
        };
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'; {}; {AT_LENGTH}",
            snapshot.0,
            wall(caller, None)
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
    fn taken(&self) -> Result<Connection> {
        checkout(&self.pool, Instant::now() + self.wait)
    }
}

async fn permitted(places: &Arc<Semaphore>, until: Instant) -> Result<OwnedSemaphorePermit> {
    tokio::time::timeout_at(until.into(), Arc::clone(places).acquire_owned())
        .await
        .map_err(|_| Error::Unavailable("all connections are busy".into()))?
        .map_err(|_| Error::Unavailable("shutting down".into()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(format!("a database task ended: {error}")))?
}

/// What one request may do with the database. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
    origin: Arc<Origin>,
}

struct Inner {
    db: Db,
    caller: Caller,
    /// Whether the replica will do.
    report: Option<Report>,
    slot: Mutex<Slot>,
    watch: Arc<Watch>,
    /// Where the log stood after the last write, when that matters to anybody.
    position: std::sync::Mutex<Option<Position>>,
    /// Clients whose contacts were read.
    personal: AtomicU32,
}

/// A report, and what its caller says they have seen.
#[derive(Clone, Copy)]
struct Report {
    seen: Option<Position>,
}

/// The request's connection, from its first use to the end of the request.
#[derive(Default)]
struct Slot {
    /// Given back before its place in the pool: whoever takes the place finds one.
    conn: Option<Connection>,
    permit: Option<OwnedSemaphorePermit>,
    reading: bool,
    /// The connection is the replica's.
    on_replica: bool,
    /// The end of its waits for locks and connections, from its first use.
    until: Option<Instant>,
    /// Set once it has waited in vain: the rest of the document is not worth another wait.
    given_up: bool,
}

impl Slot {
    /// The end of the request's waits, which begin now if they have not begun.
    fn until(&mut self, wait: Duration) -> Instant {
        *self.until.get_or_insert_with(|| patience::until(wait))
    }
}

impl Session {
    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// The same session, doing this: what the audit trail calls the operation.
    #[must_use]
    pub fn doing(&self, operation: &str) -> Session {
        Session {
            inner: Arc::clone(&self.inner),
            origin: Arc::new(self.origin.doing(operation)),
        }
    }

    /// Notes that the contacts of some clients are read, for the audit trail.
    pub fn note_personal(&self, clients: u32) {
        self.inner.personal.fetch_add(clients, Ordering::Relaxed);
    }

    /// Of how many clients the contacts were read so far.
    pub fn personal(&self) -> u32 {
        self.inner.personal.load(Ordering::Relaxed)
    }

    /// SQL statements run so far, transaction control included.
    pub fn statements(&self) -> u32 {
        self.inner.watch.statements()
    }

    /// What the request spent so far in statements, and waiting for a connection.
    pub fn spent(&self) -> (Duration, Duration) {
        self.inner.watch.spent()
    }

    /// Where the log stood after the last write of this session; known only when there is a replica.
    pub fn position(&self) -> Option<Position> {
        self.inner
            .position
            .lock()
            .ok()
            .and_then(|position| *position)
    }

    /// Reads from the request's snapshot: the same state of the books for every field of the document.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection, &Caller) -> Result<T> + Send + 'static,
    {
        let mut slot = self.inner.slot.lock().await;
        let (fetch, until) = self.connection(&mut slot, self.inner.report).await?;
        let (caller, reading) = (self.inner.caller.clone(), slot.reading);
        let watch = Arc::clone(&self.inner.watch);
        let under = telemetry::current();
        // While the task runs the slot is empty: a request that is given up closes its connection.
        let done = blocking(move || {
            let (mut conn, on_replica) = fetch()?;
            let _traced = watch.under(under);
            if !reading {
                begin_read(&mut conn, &caller, Some(until))?;
            }
            let result = work(&mut conn, &caller);
            Ok((conn, on_replica, result))
        })
        .await;
        slot.given_up = matches!(done, Err(Error::Unavailable(_)));
        let (conn, on_replica, result) = done?;
        slot.on_replica = on_replica;
        match result {
            Ok(value) => {
                slot.conn = Some(conn);
                slot.reading = true;
                Ok(value)
            }
            Err(error) => {
                // The transaction may be aborted: the next read begins a new one.
                slot.reading = false;
                slot.given_up = matches!(error, Error::Unavailable(_));
                slot.conn = rolled_back(conn).await;
                Err(error)
            }
        }
    }

    /// Reads by one statement that is a transaction of its own and says itself whose it is, for a document that reads
    /// nothing else: no snapshot is begun or left for it. None where one was begun already or the request has little
    /// time left, and where `work` finds that one statement will not do: then ask [`Session::read`].
    pub async fn read_alone<T, F>(&self, work: F) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection, &Caller) -> Result<Option<T>> + Send + 'static,
    {
        let mut slot = self.inner.slot.lock().await;
        if slot.reading {
            return Ok(None);
        }
        let until = slot.until(self.inner.db.wait);
        let turn = permitted(&self.inner.db.alone, until).await;
        slot.given_up |= turn.is_err();
        let _turn = turn?;
        let (fetch, until) = self.connection(&mut slot, self.inner.report).await?;
        let caller = self.inner.caller.clone();
        let watch = Arc::clone(&self.inner.watch);
        let under = telemetry::current();
        let done = blocking(move || {
            let (mut conn, on_replica) = fetch()?;
            let _traced = watch.under(under);
            // It waits for locks as long as any statement of the connection does.
            let result = match patience::left(until) + patience::LATE < LOCK_WAIT {
                true => Ok(None),
                false => work(&mut conn, &caller),
            };
            Ok((conn, on_replica, result))
        })
        .await;
        slot.given_up = matches!(done, Err(Error::Unavailable(_)));
        let (conn, on_replica, result) = done?;
        slot.on_replica = on_replica;
        slot.given_up = matches!(result, Err(Error::Unavailable(_)));
        slot.conn = Some(conn);
        result
    }

    /// Runs `work` in one transaction: all of it happens, or nothing does.
    ///
    /// `work` may run again after a deadlock; reads afterwards see a new snapshot.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut PgConnection, &Caller) -> Result<T> + Send + 'static,
    {
        let mut slot = self.inner.slot.lock().await;
        if slot.on_replica {
            if let (Some(conn), true) = (slot.conn.take(), slot.reading) {
                rolled_back(conn).await;
            }
            slot.reading = false;
        }
        let (fetch, until) = self.connection(&mut slot, None).await?;
        let (caller, reading) = (self.inner.caller.clone(), slot.reading);
        let origin = Arc::clone(&self.origin);
        slot.reading = false;
        let watch = Arc::clone(&self.inner.watch);
        let (under, replica) = (telemetry::current(), self.inner.db.replica.clone());
        let done = blocking(move || {
            let (mut conn, on_replica) = fetch()?;
            let _traced = watch.under(under);
            if reading {
                AnsiTransactionManager::rollback_transaction(&mut *conn)?;
            }
            let result = write_on(&mut conn, &caller, &origin, Some(until), work);
            // What was written is to be seen in the caller's next report.
            let position = match (&result, &replica) {
                // It is done: that its place is not known does not undo it.
                (Ok(_), Some(replica)) => replica::position(&mut conn)
                    .ok()
                    .flatten()
                    .inspect(|position| replica.wrote(&caller, *position)),
                _ => None,
            };
            Ok((conn, on_replica, result, position))
        })
        .await;
        slot.given_up = matches!(done, Err(Error::Unavailable(_)));
        let (conn, on_replica, result, position) = done?;
        slot.conn = Some(conn);
        slot.on_replica = on_replica;
        slot.given_up = matches!(result, Err(Error::Unavailable(_)));
        self.wrote(position);
        result
    }

    /// Begins an invoice or a receipt; it lasts until what this answers is dropped.
    pub fn turn(&self) -> Turn {
        Turn::of(&self.inner.db.gathering, self.inner.caller.company)
    }

    /// Writes a record together with those of others at the same time, once it was made ready from a snapshot
    /// of its own. Nothing is held while it waits. None, and nothing is written, where it is to be written by itself, or
    /// refused: `ahead` may answer none for that.
    pub async fn gathered<T, F>(&self, ahead: F) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection, &Caller) -> Result<Option<(T, Ready)>> + Send + 'static,
    {
        let (db, caller) = (&self.inner.db, &self.inner.caller);
        if caller.portfolio().is_some() {
            return Ok(None);
        }
        self.let_go().await;
        let found = self.read(ahead).await;
        self.let_go().await;
        let (made, ready) = match found {
            Ok(Some(found)) => found,
            Err(error @ Error::Unavailable(_)) => return Err(error),
            Ok(None) => return Ok(None),
            // Whatever is wrong with it is told by what writes it by itself.
            Err(error) => {
                tracing::debug!(%error, "a record was not made ready");
                return Ok(None);
            }
        };
        let (answer, answered) = tokio::sync::oneshot::channel();
        let waiting = Waiting {
            ready,
            caller: caller.clone(),
            origin: Arc::clone(&self.origin),
            until: self.inner.slot.lock().await.until(db.wait),
            answer,
        };
        let under = telemetry::current();
        let _span = under.map(|under| under.child("write together", Kind::Internal));
        let written = gather::written(db, waiting, answered).await;
        let mut slot = self.inner.slot.lock().await;
        slot.given_up |= matches!(written, Err(Error::Unavailable(_)));
        match written? {
            Outcome::Written(position) => {
                // It is done: what it has become is to be read, if the pool has a place within another wait.
                let until = Instant::now() + db.wait;
                slot.until = Some(until);
                slot.permit = Some(db.permit(until).await.map_err(|_| Error::Timeout)?);
                drop(slot);
                self.wrote(position);
                Ok(Some(made))
            }
            Outcome::Alone => Ok(None),
            // It may be done.
            Outcome::Unknown => Err(Error::Timeout),
        }
    }

    /// Notes where the log stood after a write.
    fn wrote(&self, position: Option<Position>) {
        if let (Some(_), Ok(mut last)) = (position, self.inner.position.lock()) {
            *last = position.max(*last);
        }
    }

    /// Ends the request: the snapshot is left and the connection goes back. Nobody waits for that.
    pub async fn finish(&self) {
        self.let_go().await;
        *self.inner.slot.lock().await = Slot::default();
    }

    /// Leaves the snapshot and gives the connection back, for others to use while the request waits for something else.
    async fn let_go(&self) {
        let mut slot = self.inner.slot.lock().await;
        let (conn, permit) = (slot.conn.take(), slot.permit.take());
        let was_reading = std::mem::take(&mut slot.reading);
        slot.on_replica = false;
        drop(slot);
        if let (Some(mut conn), true) = (conn, was_reading) {
            tokio::task::spawn_blocking(move || {
                // One that cannot leave its snapshot is not taken back by the pool.
                let left = AnsiTransactionManager::rollback_transaction(&mut *conn);
                drop(conn);
                drop(permit);
                left
            });
        }
    }

    /// What gives the request's connection, on a thread that may wait, and whether it is the replica's: for a
    /// report it is when that will do. The place in the pool is taken here. Also until when the request waits.
    async fn connection(
        &self,
        slot: &mut Slot,
        report: Option<Report>,
    ) -> Result<(
        impl FnOnce() -> Result<(Connection, bool)> + Send + use<>,
        Instant,
    )> {
        if slot.given_up {
            return Err(Error::Unavailable("this request has waited in vain".into()));
        }
        let until = slot.until(self.inner.db.wait);
        let began = Instant::now();
        let (held, was_replica) = (slot.conn.take(), slot.on_replica);
        let span = match held {
            Some(_) => None,
            None => telemetry::current().map(|under| under.child("pool wait", Kind::Internal)),
        };
        if held.is_none() {
            slot.reading = false;
            if slot.permit.is_none() {
                let permit = self.inner.db.permit(until).await;
                slot.given_up = matches!(permit, Err(Error::Unavailable(_)));
                slot.permit = Some(permit?);
            }
        }
        let (pool, watch) = (self.inner.db.pool.clone(), Arc::clone(&self.inner.watch));
        let replica = report.zip(self.inner.db.replica.clone());
        let caller = self.inner.caller.clone();
        let fetch = move || {
            if let Some(conn) = held {
                return Ok((conn, was_replica));
            }
            let found = replica
                .and_then(|(report, replica)| replica.connection(&caller, report.seen, &pool));
            let on_replica = found.is_some();
            let mut conn = match found {
                Some(conn) => conn,
                None => checkout(&pool, until)?,
            };
            conn.set_instrumentation(watch::instrumentation(Arc::clone(&watch)));
            watch.waited(began.elapsed());
            drop(span);
            Ok((conn, on_replica))
        };
        Ok((fetch, until))
    }
}

/// Leaves a snapshot; a connection that cannot is dropped.
async fn rolled_back(conn: Connection) -> Option<Connection> {
    blocking(move || {
        let mut conn = conn;
        AnsiTransactionManager::rollback_transaction(&mut *conn)?;
        Ok(conn)
    })
    .await
    .ok()
}

/// The literal settings that row-level security reads: `SET LOCAL` also reaches the shards of a
/// distributed Postgres, `set_config` does not. Locks are waited for as long as the request has time.
fn wall(caller: &Caller, until: Option<Instant>) -> String {
    let portfolio = caller
        .portfolio()
        .map(|user| user.0.to_string())
        .unwrap_or_default();
    let patience = until.map_or_else(String::new, |until| {
        let left = patience::left(until).as_millis();
        format!("; SET LOCAL lock_timeout = {left}")
    });
    format!(
        "SET LOCAL encours.company = '{}'; SET LOCAL encours.portfolio = '{portfolio}'{patience}",
        caller.company.0
    )
}

fn begin_read(conn: &mut PgConnection, caller: &Caller, until: Option<Instant>) -> Result<()> {
    // In one message: a question from memory asks little more of the database than this.
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}",
        wall(caller, until)
    );
    begun(conn, &begin)?;
    Ok(())
}

fn write_on<T>(
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
fn beginning(caller: &Caller, origin: &Origin, until: Option<Instant>) -> String {
    let (wall, time) = (wall(caller, until), our_time());
    format!("BEGIN; {wall}; {time}; {}", audit::stamp(caller, origin))
}

/// Begins a transaction by these statements; where one of them fails, none is left open.
fn begun(conn: &mut PgConnection, begin: &str) -> QueryResult<()> {
    AnsiTransactionManager::begin_transaction_sql(conn, begin).inspect_err(|_| {
        // A connection on which this fails too is not taken back by the pool.
        conn.batch_execute("ROLLBACK").ok();
    })
}

/// A transaction that begins with these statements: done whole, or not at all.
fn transaction<T>(
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
fn in_transaction<T>(
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

/// Takes a lock of the connection's, if it is free.
const TAKE: &str = "SELECT pg_try_advisory_lock($1) AS held";
/// Gives it back, if the connection has it.
const RELEASE: &str = "SELECT pg_advisory_unlock($1) AS held";

/// Whether the connection had the lock when it was taken or given back.
fn holds(conn: &mut PgConnection, how: &str, lock: i64) -> QueryResult<bool> {
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

/// Brings the database at `url` up to date, as its owner. Instances that start together wait in line.
///
/// Answers the names of the migrations that were run.
pub fn migrate(url: &str) -> Result<Vec<String>> {
    let mut conn = owner(url)?;
    // Asked for again and again: who waits for it inside a statement holds a snapshot, for which an index that is built
    // beside the work would wait in turn. The lock goes with the connection.
    while !holds(&mut conn, TAKE, MIGRATION_LOCK)? {
        std::thread::sleep(MIGRATION_TURN);
    }
    let versions = run_pending(&mut conn)?;
    // Tables that a migration has added, whoever wrote it.
    audit::include_all(&mut conn)?;
    if audit::rebase(&mut conn)? {
        tracing::warn!("the audit trail came from another server: it was sealed as it came");
    }
    if change::rebase(&mut conn)? {
        tracing::warn!("the change feed came from another server: its cursors are void");
    }
    balances::rebase(&mut conn)?;
    Ok(versions)
}

/// Runs what is pending. A statement that waits for a table makes everybody else wait behind it, so it gives up soon
/// and is tried again: the former binary serves meanwhile.
fn run_pending(conn: &mut PgConnection) -> Result<Vec<String>> {
    conn.batch_execute(&format!(
        "SET lock_timeout = '{}'; SET statement_timeout = 0",
        MIGRATION_LOCK_WAIT.as_millis()
    ))?;
    let (mut done, mut tries) = (Vec::new(), 1);
    loop {
        let waiting = conn
            .pending_migrations(MIGRATIONS)
            .map_err(|error| Error::Internal(format!("migrations: {error}")))?;
        let Some(next) = waiting.first() else {
            return Ok(done);
        };
        match conn.run_migration(next.as_ref()) {
            Ok(version) => {
                done.push(version.to_string());
                tries = 1;
            }
            Err(error) if is_lock_timeout(error.as_ref()) && tries < MIGRATION_TRIES => {
                tracing::warn!("a migration waits for a table that is in use: tried again");
                tries += 1;
                std::thread::sleep(MIGRATION_PAUSE);
            }
            Err(error) => return Err(Error::Internal(format!("migration failed: {error}"))),
        }
    }
}

/// Whether a lock was not given in time: Postgres says so in its own language unless it is told otherwise, the code
/// 55P03 is not passed on.
fn is_lock_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("lock timeout")
}

/// Whether every migration has been run on the database that `conn` reaches.
pub fn is_migrated(conn: &mut PgConnection) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let count = |conn: &mut PgConnection, sql: &str| -> Result<i64> {
        Ok(diesel::sql_query(sql).get_result::<Found>(conn)?.count)
    };
    let journal = "SELECT count(to_regclass('__diesel_schema_migrations')) AS count";
    if count(conn, journal)? == 0 {
        return Ok(false);
    }
    let applied = count(
        conn,
        "SELECT count(*) AS count FROM __diesel_schema_migrations",
    )?;
    let known = diesel::migration::MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS)
        .map_err(|error| Error::Internal(format!("embedded migrations: {error}")))?;
    // More than this binary knows: a newer one has migrated, and this one keeps working.
    Ok(applied >= i64::try_from(known.len()).unwrap_or(i64::MAX))
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
fn our_time() -> String {
    format!("SELECT check_clock('{}')", chrono::Utc::now().to_rfc3339())
}

/// The name of a snapshot, by which other transactions read the same.
pub struct Snapshot(String);

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

/// A connection as the owner of the tables: migrations, new companies, and checks across companies.
pub fn owner(url: &str) -> Result<PgConnection> {
    PgConnection::establish(url).map_err(|error| Error::Unavailable(error.to_string()))
}

/// Names the company on a connection of the owner, whose rows row-level security does not bound.
pub fn enter(conn: &mut PgConnection, company: CompanyId) -> Result<()> {
    conn.batch_execute(&format!(
        "SET encours.company = '{}'; SET encours.portfolio = ''",
        company.0
    ))?;
    Ok(())
}

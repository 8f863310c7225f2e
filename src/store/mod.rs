//! The records, and the two doors to them.
//!
//! [`Session::read`] is one read-only snapshot for a whole query document; [`Session::write`] is one
//! transaction. Both first set the company (and a sales person's portfolio) for row-level security,
//! and nothing else opens a transaction on behalf of a caller.

pub mod account;
pub mod aging;
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
pub mod fec;
pub mod file;
pub mod idempotency;
pub mod imports;
pub mod integrity;
pub mod item;
pub mod journal;
pub mod ledger;
pub mod list;
pub mod litigation;
pub mod mail;
pub mod matching;
pub mod member;
pub mod nested;
pub mod numbering;
pub mod operation;
pub mod payment;
pub mod penalty;
pub mod provision;
pub mod provision_run;
pub mod remittance;
mod revocation;
pub mod schema;
pub mod session;
mod sql_types;
pub mod task;
pub mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::{
    AnsiTransactionManager, Connection as _, InstrumentationEvent, SimpleConnection,
    TransactionManager,
};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PooledConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

pub use diesel::pg::PgConnection as Conn;

use crate::domain::access::Caller;
use crate::domain::ids::CompanyId;
use crate::error::{Error, Result};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Any constant: every instance that starts takes the same lock before it migrates.
const MIGRATION_LOCK: i64 = 0x0065_6e63_6f75_7273;
/// Tries of a transaction that lost a deadlock.
const TRIES: u32 = 3;

type Connection = PooledConnection<ConnectionManager<PgConnection>>;

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
        }
    }
}

/// The database as the serving role sees it. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<ConnectionManager<PgConnection>>,
    // One permit per connection: a task that holds one never waits inside the pool.
    permits: Arc<Semaphore>,
    wait: Duration,
    revoked: Arc<revocation::Revoked>,
}

#[derive(Debug)]
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
            "{role} SET TIME ZONE 'UTC'; SET statement_timeout = {}; SET lock_timeout = '5s'; \
             SET idle_in_transaction_session_timeout = '60s'; SET jit = off; SET lc_messages = 'C';",
            self.statement_timeout.as_millis()
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
        let pool = Pool::builder()
            .max_size(settings.pool_size)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(settings.wait)
            .connection_customizer(Box::new(prepare))
            .build_unchecked(ConnectionManager::new(&settings.url));
        Db {
            pool,
            permits: Arc::new(Semaphore::new(settings.pool_size as usize)),
            wait: settings.wait,
            revoked: Arc::default(),
        }
    }

    /// A session for one request of one caller.
    pub fn session(&self, caller: Caller) -> Session {
        Session(Arc::new(Inner {
            db: self.clone(),
            caller,
            slot: Mutex::new(Slot::default()),
            statements: Arc::default(),
        }))
    }

    /// Runs `work` without a caller, outside any company: log-in and health only.
    pub async fn anonymous<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        let permit = self.permit().await?;
        let pool = self.pool.clone();
        let (result, _) = blocking(move || {
            let mut conn = checkout(&pool)?;
            Ok((work(&mut conn), permit))
        })
        .await?;
        result
    }

    /// Runs `work` without a caller, outside any company, on this thread: for background jobs.
    pub fn anonymous_now<T>(&self, work: impl FnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        work(&mut *checkout(&self.pool)?)
    }

    /// The same in one transaction: sessions, and guesses at passwords.
    pub async fn anonymous_write<T, F>(&self, mut work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        self.anonymous(move |conn| in_transaction(conn, |conn| work(conn)))
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
        self.permit().await
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        tokio::time::timeout(self.wait, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| Error::Unavailable("all connections are busy".into()))?
            .map_err(|_| Error::Unavailable("shutting down".into()))
    }

    /// Runs `work` when no other instance holds the lock, on this thread. The lock is the connection's, not a
    /// transaction's: nothing is held back by it, and an instance that dies lets go of it.
    pub fn leading(&self, lock: i64, work: impl FnOnce() -> Result<()>) -> Result<()> {
        #[derive(QueryableByName)]
        struct Held {
            #[diesel(sql_type = diesel::sql_types::Bool)]
            held: bool,
        }
        let mut conn = checkout(&self.pool)?;
        let mut ask = |sql: &str| -> Result<bool> {
            let row: Held = diesel::sql_query(sql)
                .bind::<diesel::sql_types::BigInt, _>(lock)
                .get_result(&mut conn)?;
            Ok(row.held)
        };
        if !ask("SELECT pg_try_advisory_lock($1) AS held")? {
            return Ok(());
        }
        let done = work();
        let released = ask("SELECT pg_advisory_unlock($1) AS held")?;
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
        write_on(&mut *checkout(&self.pool)?, caller, work)
    }

    /// Runs `work` on one read-only snapshot of `caller`, on this thread: for the command line and background jobs.
    pub fn read_now<T>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&mut PgConnection, &Caller) -> Result<T>,
    ) -> Result<T> {
        let mut conn = checkout(&self.pool)?;
        begin_read(&mut conn, caller)?;
        let result = work(&mut conn, caller);
        AnsiTransactionManager::rollback_transaction(&mut *conn)?;
        result
    }
}

fn checkout(pool: &Pool<ConnectionManager<PgConnection>>) -> Result<Connection> {
    pool.get()
        .map_err(|error| Error::Unavailable(error.to_string()))
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
pub struct Session(Arc<Inner>);

struct Inner {
    db: Db,
    caller: Caller,
    slot: Mutex<Slot>,
    statements: Arc<AtomicU32>,
}

/// The request's connection, from its first use to the end of the request.
#[derive(Default)]
struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    conn: Option<Connection>,
    reading: bool,
}

impl Session {
    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// SQL statements run so far, transaction control included.
    pub fn statements(&self) -> u32 {
        self.0.statements.load(Ordering::Relaxed)
    }

    /// Reads from the request's snapshot: the same state of the books for every field of the document.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection, &Caller) -> Result<T> + Send + 'static,
    {
        let mut slot = self.0.slot.lock().await;
        let conn = self.connection(&mut slot).await?;
        let (caller, reading) = (self.0.caller.clone(), slot.reading);
        // While the task runs the slot is empty: a request that is given up closes its connection.
        let (conn, result) = blocking(move || {
            let mut conn = conn;
            if !reading {
                begin_read(&mut conn, &caller)?;
            }
            let result = work(&mut conn, &caller);
            Ok((conn, result))
        })
        .await?;
        match result {
            Ok(value) => {
                slot.conn = Some(conn);
                slot.reading = true;
                Ok(value)
            }
            Err(error) => {
                // The transaction may be aborted: the next read begins a new one.
                slot.reading = false;
                slot.conn = rolled_back(conn).await;
                Err(error)
            }
        }
    }

    /// Runs `work` in one transaction: all of it happens, or nothing does.
    ///
    /// `work` may run again after a deadlock; reads afterwards see a new snapshot.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut PgConnection, &Caller) -> Result<T> + Send + 'static,
    {
        let mut slot = self.0.slot.lock().await;
        let conn = self.connection(&mut slot).await?;
        let (caller, reading) = (self.0.caller.clone(), slot.reading);
        slot.reading = false;
        let (conn, result) = blocking(move || {
            let mut conn = conn;
            if reading {
                AnsiTransactionManager::rollback_transaction(&mut *conn)?;
            }
            let result = write_on(&mut conn, &caller, work);
            Ok((conn, result))
        })
        .await?;
        slot.conn = Some(conn);
        result
    }

    /// Ends the request: the snapshot is left and the connection goes back.
    pub async fn finish(&self) {
        let mut slot = self.0.slot.lock().await;
        if let (Some(conn), true) = (slot.conn.take(), slot.reading) {
            rolled_back(conn).await;
        }
        *slot = Slot::default();
    }

    async fn connection(&self, slot: &mut Slot) -> Result<Connection> {
        if slot.permit.is_none() {
            slot.permit = Some(self.0.db.permit().await?);
        }
        if let Some(conn) = slot.conn.take() {
            return Ok(conn);
        }
        slot.reading = false;
        let (pool, counter) = (self.0.db.pool.clone(), Arc::clone(&self.0.statements));
        blocking(move || {
            let mut conn = checkout(&pool)?;
            conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::StartQuery { .. } = event {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
            Ok(conn)
        })
        .await
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
/// distributed Postgres, `set_config` does not.
fn wall(caller: &Caller) -> String {
    let portfolio = caller
        .portfolio()
        .map(|user| user.0.to_string())
        .unwrap_or_default();
    format!(
        "SET LOCAL encours.company = '{}'; SET LOCAL encours.portfolio = '{portfolio}'",
        caller.company.0
    )
}

fn begin_read(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    AnsiTransactionManager::begin_transaction_sql(
        conn,
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    )?;
    conn.batch_execute(&wall(caller))?;
    Ok(())
}

fn write_on<T>(
    conn: &mut PgConnection,
    caller: &Caller,
    mut work: impl FnMut(&mut PgConnection, &Caller) -> Result<T>,
) -> Result<T> {
    in_transaction(conn, |conn| {
        conn.batch_execute(&wall(caller))?;
        work(conn, caller)
    })
}

/// One transaction, tried again after a deadlock.
fn in_transaction<T>(
    conn: &mut PgConnection,
    mut work: impl FnMut(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let mut tries = 1;
    loop {
        match conn.transaction(&mut work) {
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

/// Brings the database at `url` up to date, as its owner. Instances that start together wait in line.
///
/// Answers the names of the migrations that were run.
pub fn migrate(url: &str) -> Result<Vec<String>> {
    let mut conn = owner(url)?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK)
        .execute(&mut conn)?;
    // The lock goes with the connection.
    let versions = conn
        .run_pending_migrations(MIGRATIONS)
        .map(|versions| versions.iter().map(ToString::to_string).collect())
        .map_err(|error| Error::Internal(format!("migration failed: {error}")))?;
    if change::rebase(&mut conn)? {
        tracing::warn!("the change feed came from another server: its cursors are void");
    }
    Ok(versions)
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

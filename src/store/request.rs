//! The database as one request sees it: a snapshot that it reads, transactions that it writes, one connection for both.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, Connection as _, TransactionManager};
use diesel::pg::PgConnection;
use tokio::sync::{Mutex, OwnedSemaphorePermit};

use super::db::{Db, LOCK_WAIT, blocking, permitted};
use super::gather::{self, Outcome, Ready, Turn, Waiting};
use super::patience::{self, Connection, checkout};
use super::replica::{self, Position};
use super::transaction::{begin_read, write_on};
use super::watch::{self, Watch};
use crate::domain::access::Caller;
use crate::domain::audit::Origin;
use crate::domain::ids::ClientId;
use crate::error::{Error, Result};
use crate::telemetry::{self, Kind};

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
    shown: std::sync::Mutex<Shown>,
}

/// Whose records a request shows, as its fields have said.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Fields that have said so.
    pub fields: usize,
    /// The clients.
    pub clients: BTreeSet<ClientId>,
    /// Whether a record is nobody's, or of somebody who became known later.
    pub others: bool,
}

/// A report, and what its caller says they have seen.
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) seen: Option<Position>,
}

/// The request's connection, from its first use to the end of the request.
#[derive(Default)]
struct Slot {
    /// Given back before its place in the pool: whoever takes the place finds one.
    conn: Option<Connection>,
    permit: Option<OwnedSemaphorePermit>,
    reading: bool,
    /// Snapshots that were begun.
    snapshots: u32,
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
    /// A request's session, which reads reports on the replica when it is told so.
    pub(super) fn of(db: Db, caller: Caller, origin: Origin, report: Option<Report>) -> Session {
        Session {
            inner: Arc::new(Inner {
                db,
                caller,
                report,
                slot: Mutex::new(Slot::default()),
                watch: Arc::default(),
                position: std::sync::Mutex::default(),
                personal: AtomicU32::default(),
                shown: std::sync::Mutex::default(),
            }),
            origin: Arc::new(origin),
        }
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// The database that it asks.
    pub(super) fn db(&self) -> &Db {
        &self.inner.db
    }

    /// The database, for another connection to the snapshot that is read: none when reports are read on the replica,
    /// whose snapshots the primary does not have.
    pub fn beside(&self) -> Option<Db> {
        match self.inner.report {
            None => Some(self.inner.db.clone()),
            Some(_) => None,
        }
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

    /// Notes whose records a field shows, with all that hangs on them.
    pub fn note_shown(&self, clients: impl Iterator<Item = Option<ClientId>>) {
        let shown = &self.inner.shown;
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.fields += 1;
        for client in clients {
            match client {
                Some(client) => drop(shown.clients.insert(client)),
                None => shown.others = true,
            }
        }
    }

    /// Whose records were shown so far.
    pub fn shown(&self) -> Shown {
        let shown = &self.inner.shown;
        shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        slot.snapshots += u32::from(!reading);
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

    /// Whether all that was read is of one snapshot of the primary, which is still there.
    pub async fn saw_one_snapshot(&self) -> bool {
        let slot = self.inner.slot.lock().await;
        slot.reading && slot.snapshots == 1 && !slot.on_replica
    }

    /// Reads by one statement that is a transaction of its own and says itself whose it is, for a document that needs
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
    pub async fn let_go(&self) {
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

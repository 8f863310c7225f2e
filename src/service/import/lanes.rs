//! The lanes in which a file is booked, side by side.
//!
//! PostgreSQL keeps one core busy for each connection, and rows of different clients have little to do with each other:
//! a batch writes all that it can before it asks for the numbers of its entries, which the lanes then take in turn.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread;

use diesel::pg::PgConnection;

use super::layout::Layout;
use super::mark::{Batch, Mark, Rows};
use super::{Failure, Kind, Outcome, PART, Series, signed, tell_planner};
use crate::domain::access::Caller;
use crate::error::{Error, Result};
use crate::store::imports::LANES;
use crate::store::{self, Db};

/// How batches are booked.
pub struct Booking<'a, K> {
    pub kind: &'a K,
    pub db: &'a Db,
    pub caller: &'a Caller,
    pub layout: &'a Layout,
    pub mark: &'a Mark,
    pub planner: Planner,
    /// Shared by batches that are booked side by side, and held by one that lost a race: it goes on alone.
    pub beside: RwLock<()>,
}

/// What PostgreSQL's planner was told of this import.
#[derive(Default)]
pub struct Planner(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// Rows booked.
    rows: u64,
    /// As many as the planner has heard of.
    told: u64,
}

impl Planner {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kind> Booking<'_, K> {
    /// Books a batch beside that of the other lane. It locks the series of entries last, and may lose a race against
    /// those who lock it first, or against a number that the other lane takes: then once more, alone and in their order.
    fn book(&self, batch: &Batch) -> Result<Outcome> {
        // What is planned while the planner is being told would go by what it knew before.
        drop(self.planner.told());
        let beside = self.beside.read().unwrap_or_else(PoisonError::into_inner);
        let write = |conn: &mut PgConnection, caller: &Caller, series| {
            store::imports::prepare(conn)?;
            if series == Series::Last {
                store::imports::be_patient(conn)?;
            }
            self.mark.take(conn, caller, batch)?;
            let outcome = self
                .kind
                .book(conn, caller, self.layout, &batch.rows, series);
            let outcome = outcome.map_err(Error::again_if_taken)?;
            self.mark.count(conn, caller, &outcome.bad)?;
            Ok(outcome)
        };
        let tried = self.db.try_now(self.caller, |conn, caller| {
            write(conn, caller, Series::Last)
        });
        match tried {
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, "a batch is booked once more, alone");
                drop(beside);
                let _alone = self.beside.write().unwrap_or_else(PoisonError::into_inner);
                self.db.write_now(self.caller, |conn, caller| {
                    write(conn, caller, Series::First)
                })
            }
            other => other,
        }
    }

    /// Tells the planner of the company as it doubles.
    fn tell_planner(&self, rows: u64) -> Result<()> {
        let mut planner = self.planner.told();
        planner.rows += rows;
        if planner.rows >= 2 * planner.told {
            planner.told = planner.rows;
            tell_planner(self.db, self.caller, signed(planner.rows), PART)?;
        }
        Ok(())
    }
}

/// Books all rows; `told` hears of each batch and its number of rows. The file is read ahead, by a batch for each lane.
/// Answers how many rows the file has.
///
/// Lanes are side by side as far as connections are free for them.
pub fn book<K: Kind + Sync>(
    booking: &Booking<'_, K>,
    rows: Rows<'_, K>,
    mut told: impl FnMut(u64, Outcome),
) -> std::result::Result<u64, Failure> {
    let others = if rows.are_again() { 0 } else { LANES - 1 };
    let spare: Vec<_> = (0..others).map_while(|_| booking.db.spare()).collect();
    let channels = (0..=spare.len()).map(|_| mpsc::sync_channel(1));
    let (senders, receivers): (Vec<_>, Vec<mpsc::Receiver<Batch>>) = channels.unzip();
    let together = rows.begin_together();
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            // Nobody listens once the import has ended early.
            rows.read(|batch| {
                let lane = batch.lane() % senders.len();
                senders[lane].send(batch).is_ok()
            })
        });
        // Without one, the file has no rows or cannot be read.
        let first = together.then(|| receivers[0].recv());
        if let Some(Ok(batch)) = first {
            let rows = batch.rows.len() as u64;
            told(rows, booking.book(&batch)?);
            booking.tell_planner(rows)?;
        }
        let (done, outcomes) = mpsc::channel();
        for batches in receivers {
            let done = done.clone();
            scope.spawn(move || {
                // Whoever listens stays to the end; the other lane goes on with what it was handed.
                let _ = work(booking, batches, &done).or_else(|error| done.send(Err(error)));
            });
        }
        drop(done);
        let mut failure = None;
        for outcome in outcomes {
            match outcome {
                Ok((rows, outcome)) => told(rows, outcome),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let read = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        failure.map_or(Ok(read), |error| Err(error.into()))
    })
}

/// What became of a batch, with its number of rows.
type Done = Result<(u64, Outcome)>;

/// Books the batches of a lane, one after another.
fn work<K: Kind>(
    booking: &Booking<'_, K>,
    batches: mpsc::Receiver<Batch>,
    done: &mpsc::Sender<Done>,
) -> Result<()> {
    for batch in batches {
        let rows = batch.rows.len() as u64;
        let outcome = booking.book(&batch)?;
        let _ = done.send(Ok((rows, outcome)));
        booking.tell_planner(rows)?;
    }
    Ok(())
}

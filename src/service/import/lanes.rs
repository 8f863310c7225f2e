//! The lanes in which a file is booked, side by side.
//!
//! PostgreSQL keeps one core busy for each connection, and rows of different clients have little to do with each other:
//! a batch writes all that it can before it asks for the numbers of its entries, which the lanes then take in turn.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use super::layout::Layout;
use super::mark::{Batch, Mark, Rows};
use super::{Failure, Kind, Outcome, PART, signed, tell_planner};
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
    fn book(&self, batch: &Batch) -> Result<Outcome> {
        // What is planned while the planner is being told would go by what it knew before.
        drop(self.planner.told());
        let outcome = self.db.write_now(self.caller, |conn, caller| {
            store::imports::prepare(conn)?;
            self.mark.take(conn, caller, batch)?;
            let outcome = self.kind.book(conn, caller, self.layout, &batch.rows);
            let outcome = outcome.map_err(Error::again_if_taken)?;
            self.mark.count(conn, caller, batch, &outcome.bad)?;
            Ok(outcome)
        })?;
        let mut planner = self.planner.told();
        planner.rows += batch.rows.len() as u64;
        // As the company doubles.
        if planner.rows >= 2 * planner.told {
            planner.told = planner.rows;
            tell_planner(self.db, self.caller, signed(planner.rows), PART)?;
        }
        Ok(outcome)
    }
}

/// Books all rows; `told` hears of each batch and its number of rows. The file is read ahead, by a batch for each lane.
///
/// Lanes are side by side as far as connections are free for them.
pub fn book<K: Kind + Sync>(
    booking: &Booking<'_, K>,
    rows: Rows<'_, K>,
    mut told: impl FnMut(u64, Outcome),
) -> std::result::Result<(), Failure> {
    let spare: Vec<_> = (1..LANES).map_while(|_| booking.db.spare()).collect();
    let channels = (0..=spare.len()).map(|_| mpsc::sync_channel(1));
    let (senders, receivers): (Vec<_>, Vec<mpsc::Receiver<Batch>>) = channels.unzip();
    let (done, outcomes) = mpsc::channel();
    let together = rows.begin_together();
    thread::scope(|scope| {
        let tell = done.clone();
        scope.spawn(move || {
            // Nobody listens once the import has ended early.
            let take = |batch: Batch| {
                let lane = batch.lanes.start % senders.len();
                senders[lane].send(batch).is_ok()
            };
            if let Err(error) = rows.read(take) {
                let _ = tell.send(Err(error));
            }
        });
        // Without one, the file has no rows or cannot be read.
        let first = together.then(|| receivers[0].recv());
        if let Some(Ok(batch)) = first {
            told(batch.rows.len() as u64, booking.book(&batch)?);
        }
        for batches in receivers {
            let done = done.clone();
            scope.spawn(move || {
                for batch in batches {
                    let rows = batch.rows.len() as u64;
                    let outcome = booking.book(&batch);
                    let is_booked = outcome.is_ok();
                    let outcome = outcome.map(|outcome| (rows, outcome));
                    if done.send(outcome.map_err(Failure::from)).is_err() || !is_booked {
                        return;
                    }
                }
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
        failure.map_or(Ok(()), Err)
    })
}

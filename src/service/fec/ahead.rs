//! Reads the lines of a year ahead of their writing: while a stretch of entries is written, the next ones are read.
//!
//! PostgreSQL keeps one core busy for each connection, and writing keeps another: a year of a million lines takes a
//! third of the time when they work at once.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use diesel::pg::PgConnection;

use crate::domain::access::Caller;
use crate::error::{Error, Result};
use crate::store::fec::{self, Line, Stretch};
use crate::store::{self, Db};

/// Entries that are read at once. More share what is looked up for their clients and groups, and hold more memory.
const ENTRIES: i64 = 5_000;
/// Stretches that are read or wait while one is written.
const AHEAD: usize = 3;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub year: i32,
    /// Letters of groups that are not settled whole, too.
    pub partial_letters: bool,
}

/// A stretch to read, and who waits for it.
struct Order {
    stretch: Stretch,
    waiting: SyncSender<Result<Vec<Line>>>,
}

/// Hands `write` the lines of a year in their order, a stretch at a time. They are read over `conn`, and over another
/// connection on the same snapshot when `beside` has one to spare.
pub fn each_stretch(
    conn: &mut PgConnection,
    caller: &Caller,
    beside: Option<&Db>,
    asked: Asked,
    write: impl FnMut(Vec<Line>) -> Result<()> + Send,
) -> Result<()> {
    let stretches = fec::stretches(conn, caller.company, asked.year, ENTRIES)?;
    let beside = match beside.filter(|_| stretches.len() > 1) {
        Some(db) => db.spare().map(|place| (db, place)),
        None => None,
    };
    let snapshot = beside
        .is_some()
        .then(|| store::snapshot(conn))
        .transpose()?;
    let (orders, ordered) = mpsc::channel();
    let ordered = Mutex::new(ordered);
    thread::scope(|scope| {
        // It reads on the thread that it was called on, whose trace it is a part of.
        let written = scope.spawn(move || write_all(stretches, &orders, write));
        if let (Some((db, _place)), Some(snapshot)) = (&beside, &snapshot) {
            let ordered = &ordered;
            scope.spawn(move || {
                let read = db.read_beside(caller, snapshot, |conn| {
                    read_all(conn, caller, asked, ordered);
                    Ok(())
                });
                if let Err(error) = read {
                    tracing::debug!(%error, "a year is read over one connection");
                }
            });
        }
        read_all(conn, caller, asked, &ordered);
        written
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Reads what is ordered, until nobody orders any more.
fn read_all(
    conn: &mut PgConnection,
    caller: &Caller,
    asked: Asked,
    ordered: &Mutex<Receiver<Order>>,
) {
    let next = || {
        let ordered = ordered.lock().unwrap_or_else(PoisonError::into_inner);
        ordered.recv()
    };
    while let Ok(Order { stretch, waiting }) = next() {
        let Asked {
            year,
            partial_letters,
        } = asked;
        let lines = fec::lines(conn, caller.company, year, stretch, partial_letters);
        // Nobody waits once writing has failed.
        let _ = waiting.send(lines.map_err(Error::from));
    }
}

/// Orders the stretches, some ahead, and writes them as they come.
fn write_all(
    stretches: Vec<Stretch>,
    orders: &Sender<Order>,
    mut write: impl FnMut(Vec<Line>) -> Result<()>,
) -> Result<()> {
    let gone = || Error::Internal("a thread that reads the FEC ended".into());
    let mut stretches = stretches.into_iter();
    let mut awaited = VecDeque::new();
    loop {
        while awaited.len() < AHEAD
            && let Some(stretch) = stretches.next()
        {
            let (waiting, read) = mpsc::sync_channel(1);
            let order = Order { stretch, waiting };
            orders.send(order).map_err(|_| gone())?;
            awaited.push_back(read);
        }
        let Some(read) = awaited.pop_front() else {
            return Ok(());
        };
        write(read.recv().map_err(|_| gone())??)?;
    }
}

//! Reads the lines of a year ahead of their writing: while a stretch of entries is written, the next ones are read.
//!
//! PostgreSQL keeps one core busy for each connection, and writing keeps another.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use diesel::pg::PgConnection;

use crate::domain::access::Caller;
use crate::error::{Error, Result};
use crate::store::fec::{self, Lines, Reader, Stretch};
use crate::store::{self, Db, Limits};

/// Lines of a stretch, more or less. Memory holds one stretch more than are ordered at once.
const LINES: usize = 10_000;
/// Entries of a stretch before it is known how many lines they have.
const FIRST: i64 = 500;
/// Entries of a stretch at most.
const MOST: i64 = 5_000;
/// Stretches that are ordered at once: the one that is written next, and those behind it.
const ORDERED: usize = 3;

/// A stretch to read, and who waits for it.
struct Order {
    stretch: Stretch,
    waiting: SyncSender<Result<Lines>>,
}

/// Hands `write` the lines of a year in their order, a stretch at a time. They are read over `conn`, and over another
/// connection on the same snapshot when `db` has one to spare; a fault of either ends it.
pub fn each_stretch(
    conn: &mut PgConnection,
    caller: &Caller,
    db: Option<&Db>,
    (year, partial_letters): (i32, bool),
    write: impl FnMut(Lines) -> Result<()> + Send,
) -> Result<()> {
    let cut = Cut::of(fec::whole_year(conn, caller.company, year)?);
    let spare = db
        .filter(|_| cut.numbers() > FIRST)
        .and_then(|db| Some((db, db.spare()?)));
    let beside = match &spare {
        Some((db, _place)) => Some((db, store::snapshot(conn)?)),
        None => None,
    };
    let (orders, ordered) = mpsc::channel();
    let ordered = Mutex::new(ordered);
    thread::scope(|scope| {
        // Reading stays on the thread that it was called on, whose trace it is a part of.
        let written = scope.spawn(move || write_all(cut, &orders, write));
        if let Some((db, snapshot)) = &beside {
            let ordered = &ordered;
            scope.spawn(move || {
                let read = db.read_beside(caller, snapshot, Limits::Usual, |conn| {
                    read_all(conn, caller, partial_letters, ordered);
                    Ok(())
                });
                // What it has read was handed over: the other connection reads the rest.
                if let Err(error) = read {
                    tracing::debug!(%error, "a connection beside a file of entries was lost");
                }
            });
        }
        read_all(conn, caller, partial_letters, &ordered);
        written
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Reads what is ordered, until nobody orders any more.
fn read_all(
    conn: &mut PgConnection,
    caller: &Caller,
    partial_letters: bool,
    ordered: &Mutex<Receiver<Order>>,
) {
    let next = || {
        let ordered = ordered.lock().unwrap_or_else(PoisonError::into_inner);
        ordered.recv()
    };
    let mut reader = Reader::new(caller.company, partial_letters);
    while let Ok(Order { stretch, waiting }) = next() {
        let lines = reader.read(conn, stretch);
        // Nobody waits once writing has failed.
        let _ = waiting.send(lines.map_err(Error::from));
    }
}

/// Orders the stretches, some ahead, and writes them as they come.
fn write_all(
    mut cut: Cut,
    orders: &Sender<Order>,
    mut write: impl FnMut(Lines) -> Result<()>,
) -> Result<()> {
    let gone = || Error::Internal("a thread that reads entries ended".into());
    let mut awaited = VecDeque::new();
    loop {
        while awaited.len() < ORDERED
            && let Some(stretch) = cut.next()
        {
            let (waiting, read) = mpsc::sync_channel(1);
            let order = Order { stretch, waiting };
            orders.send(order).map_err(|_| gone())?;
            awaited.push_back(read);
        }
        let Some(read) = awaited.pop_front() else {
            return Ok(());
        };
        let lines = read.recv().map_err(|_| gone())??;
        cut.hear_of(&lines);
        write(lines)?;
    }
}

/// Cuts a year into stretches of about as many lines: a summary entry may have thousands, most have two or three.
struct Cut {
    /// What is not cut yet.
    rest: VecDeque<Stretch>,
    /// Numbers of the next stretch.
    entries: i64,
}

impl Cut {
    fn of(year: Vec<Stretch>) -> Cut {
        Cut {
            rest: year.into(),
            entries: FIRST,
        }
    }

    /// How many are left.
    fn numbers(&self) -> i64 {
        self.rest.iter().map(|rest| rest.up_to - rest.after).sum()
    }

    fn next(&mut self) -> Option<Stretch> {
        let rest = self.rest.front_mut()?;
        let stretch = Stretch {
            up_to: rest.up_to.min(rest.after.saturating_add(self.entries)),
            ..*rest
        };
        rest.after = stretch.up_to;
        if rest.after == rest.up_to {
            self.rest.pop_front();
        }
        Some(stretch)
    }

    /// The next stretch goes by how many lines the entries of this one have.
    fn hear_of(&mut self, read: &Lines) {
        let lines = &read.lines;
        if lines.is_empty() {
            return;
        }
        let entries = lines.chunk_by(|one, next| one.number == next.number);
        let entries = entries.count() * LINES / lines.len();
        self.entries = i64::try_from(entries).unwrap_or(MOST).clamp(1, MOST);
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;
    use crate::store::fec::Line;

    fn stretch(opening: bool, after: i64, up_to: i64) -> Stretch {
        Stretch {
            year: 2026,
            opening,
            after,
            up_to,
        }
    }

    /// The lines of a stretch: so many for each entry.
    fn lines(stretch: Stretch, each: usize) -> Lines {
        let line = |number: i64| Line {
            number,
            journal: "VE".into(),
            posted_on: NaiveDate::default(),
            occurred_on: NaiveDate::default(),
            reference: String::new(),
            label: String::new(),
            validated_on: NaiveDate::default(),
            account: "411".into(),
            client_number: None,
            client_name: None,
            base_debit: 0,
            base_credit: 0,
            debit: 0,
            credit: 0,
            currency: "EUR".into(),
            due_on: None,
            open: None,
            matching: None,
        };
        let numbers = stretch.after + 1..=stretch.up_to;
        Lines {
            lines: numbers
                .flat_map(|number| std::iter::repeat_n(line(number), each))
                .collect(),
            ..Lines::default()
        }
    }

    /// Writes a year whose reader answers as it is told; the numbers that were written, and how it ended.
    fn written(
        year: Vec<Stretch>,
        answer: impl FnOnce(Receiver<Order>) + Send,
    ) -> (Vec<i64>, Result<()>) {
        let (orders, ordered) = mpsc::channel();
        let mut numbers = Vec::new();
        let ended = thread::scope(|scope| {
            scope.spawn(move || answer(ordered));
            let ended = write_all(Cut::of(year), &orders, |read| {
                numbers.extend(read.lines.iter().map(|line| line.number));
                Ok(())
            });
            // Readers end when nobody orders any more.
            drop(orders);
            ended
        });
        (numbers, ended)
    }

    #[test]
    fn what_is_read_out_of_turn_is_written_in_turn() {
        let year = vec![stretch(true, 900, 901), stretch(false, 0, 2_000)];
        let (numbers, ended) = written(year, |ordered| {
            // The second of each two is read first.
            let mut held = None;
            let hand_over = |Order { stretch, waiting }| {
                let _ = waiting.send(Ok(lines(stretch, 1)));
            };
            while let Ok(order) = ordered.recv_timeout(std::time::Duration::from_millis(200)) {
                match held.take() {
                    None => held = Some(order),
                    Some(first) => {
                        hand_over(order);
                        hand_over(first);
                    }
                }
            }
            held.into_iter().for_each(hand_over);
        });
        ended.expect("it was written");
        let expected: Vec<i64> = std::iter::once(901).chain(1..=2_000).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_fault_of_a_reader_ends_the_file_where_it_is() {
        let (numbers, ended) = written(vec![stretch(false, 0, 5_000)], |ordered| {
            for (at, Order { stretch, waiting }) in ordered.iter().enumerate() {
                let lines = match at {
                    1 => Err(Error::Unavailable("lost".into())),
                    _ => Ok(lines(stretch, 1)),
                };
                let _ = waiting.send(lines);
            }
        });
        assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
        assert_eq!(numbers.len(), 500);
    }

    #[test]
    fn readers_that_are_gone_end_the_file() {
        let (numbers, ended) = written(vec![stretch(false, 0, 5_000)], drop);
        assert!(matches!(ended, Err(Error::Internal(_))), "{ended:?}");
        assert!(numbers.is_empty());
        let (_, ended) = written(vec![stretch(false, 0, 5_000)], |ordered| {
            // Takes an order, and is gone without an answer.
            drop(ordered.recv());
        });
        assert!(matches!(ended, Err(Error::Internal(_))), "{ended:?}");
    }

    #[test]
    fn a_stretch_has_about_as_many_lines_whatever_an_entry_has() {
        let mut cut = Cut::of(vec![stretch(true, 0, 3), stretch(false, 0, 100_000)]);
        assert_eq!(cut.numbers(), 100_003);
        assert_eq!(cut.next(), Some(stretch(true, 0, 3)));
        assert_eq!(cut.next(), Some(stretch(false, 0, FIRST)));
        for (each, entries) in [(2, 5_000), (4, 2_500), (1_000, 10), (30_000, 1)] {
            cut.hear_of(&lines(stretch(false, 0, 2), each));
            let next = cut.next().expect("a stretch");
            assert_eq!(next.up_to - next.after, entries, "{each} lines an entry");
        }
        // A stretch of numbers that are not of its kind says nothing.
        cut.hear_of(&Lines::default());
        let next = cut.next().expect("a stretch");
        assert_eq!(next.up_to - next.after, 1);
        assert_eq!(cut.numbers(), 100_000 - FIRST - 7_512);
    }
}

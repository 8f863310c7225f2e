//! Which rows of a file are still to be booked, in batches, and the record of how far its import has come.

use std::fs::File;
use std::marker::PhantomData;
use std::mem;

use diesel::pg::PgConnection;
use sha2::{Digest, Sha256};

use super::layout::Layout;
use super::{Bad, Failure, Kind, Place, Record, signed};
use crate::domain::access::Caller;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Result;
use crate::store;
use crate::store::imports::{Begun, LANES, Step};

/// Rows of one transaction: enough that the statements of a batch weigh little against its rows, and few
/// enough that whoever else posts in the company waits for less than a second.
const BATCH: usize = 2_000;
/// Rows of the first one: what the planner learns from them, the others go by.
const FIRST: usize = 200;

/// Which rows of a file are wanted.
pub enum Wanted {
    /// Those behind the mark of their lane.
    Behind([u64; LANES]),
    /// Those that were left out before, by their ranks in order.
    Again(Vec<u64>),
}

impl Wanted {
    /// Of an import that was begun before, or just now.
    pub fn of(begun: Begun) -> Wanted {
        if begun.finished {
            Wanted::Again(begun.refused)
        } else {
            Wanted::Behind(begun.marks)
        }
    }

    /// Whether there is nothing left to do.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Wanted::Again(ranks) if ranks.is_empty())
    }

    fn has(&self, rank: u64, lane: usize) -> bool {
        match self {
            Wanted::Behind(marks) => rank > marks[lane],
            Wanted::Again(ranks) => ranks.binary_search(&rank).is_ok(),
        }
    }
}

/// Rows of one transaction.
pub struct Batch {
    pub rows: Vec<Record>,
    /// How far they move the marks of their lanes, of one or of all; none of rows that are tried again.
    step: Option<Step>,
}

impl Batch {
    /// The lane in which it is booked.
    pub fn lane(&self) -> usize {
        self.step.as_ref().map_or(0, |step| step.lanes.start)
    }
}

/// The wanted rows of a file.
///
/// All rows of a client are of one lane, with all rows of a receipt, and are booked in their order. Between lanes
/// nothing depends on another but a number that two clients have, which goes to the one that comes first.
pub struct Rows<'a, K> {
    reader: csv::Reader<File>,
    layout: &'a Layout,
    wanted: Wanted,
    kind: PhantomData<fn() -> K>,
}

impl<'a, K: Kind> Rows<'a, K> {
    /// Reads them with `reader`.
    pub fn new(reader: csv::Reader<File>, layout: &'a Layout, wanted: Wanted) -> Rows<'a, K> {
        let kind = PhantomData;
        Rows {
            reader,
            layout,
            wanted,
            kind,
        }
    }

    /// Whether the first batch is of all lanes, and to be booked before the others.
    pub fn begin_together(&self) -> bool {
        match &self.wanted {
            Wanted::Behind(marks) => marks.iter().all(|mark| *mark == marks[0]),
            Wanted::Again(_) => true,
        }
    }

    /// Whether they were all left out before, and are tried again one after another.
    pub fn are_again(&self) -> bool {
        matches!(self.wanted, Wanted::Again(_))
    }

    /// Hands them over in batches, until `take` wants no more. Answers how many rows there are, wanted or not.
    pub fn read(
        mut self,
        mut take: impl FnMut(Batch) -> bool,
    ) -> std::result::Result<u64, Failure> {
        let mut read = 0;
        let mut filling = Filling::of(&self.wanted, self.begin_together());
        let (mut name, mut lane, mut is_added) = (Vec::new(), 0, false);
        for (rank, cells) in (1..).zip(self.reader.byte_records()) {
            let cells = cells?;
            read = rank;
            let named = K::record(self.layout, &cells);
            let continues = !named.is_empty() && named == name;
            if !continues {
                name.clear();
                name.extend_from_slice(named);
                lane = lane_of(self.layout, &cells);
            }
            let continues = continues && is_added;
            is_added = self.wanted.has(rank, lane);
            if !is_added {
                continue;
            }
            let line = cells.position().map_or(0, csv::Position::line);
            let row = Record {
                at: Place { rank, line },
                cells,
                continues,
            };
            let full = filling.add(lane, row);
            if !full.is_none_or(&mut take) {
                return Ok(read);
            }
        }
        filling.rest().all(take);
        Ok(read)
    }
}

/// The lane of a row, by its client. Marks outlive the process: it is the same everywhere and for ever.
fn lane_of(layout: &Layout, cells: &csv::ByteRecord) -> usize {
    let client = layout.text(cells, "client").ok().flatten();
    let hash = Sha256::digest(client.unwrap_or_default());
    usize::from(hash[0]) % LANES
}

/// Rows in the order of the file, until they are enough for a batch.
struct Filling {
    /// By lane; all in the first place while they are together.
    rows: [Vec<Record>; LANES],
    /// Where the lanes stand once what was handed over is booked; none when rows are tried again.
    marks: Option<[u64; LANES]>,
    together: bool,
    most: usize,
}

impl Filling {
    fn of(wanted: &Wanted, together: bool) -> Filling {
        let marks = match wanted {
            Wanted::Behind(marks) => Some(*marks),
            Wanted::Again(_) => None,
        };
        Filling {
            rows: [const { Vec::new() }; LANES],
            marks,
            together,
            most: FIRST,
        }
    }

    /// Where the rows of a lane are.
    fn place(&self, lane: usize) -> usize {
        if self.together { 0 } else { lane }
    }

    /// Adds a row; answers the batch that is full without it. A row that continues a record stays with it.
    fn add(&mut self, lane: usize, row: Record) -> Option<Batch> {
        let place = self.place(lane);
        let is_full = !row.continues && self.rows[place].len() >= self.most;
        let full = is_full.then(|| self.take(place));
        let place = self.place(lane);
        self.rows[place].push(row);
        full
    }

    fn take(&mut self, place: usize) -> Batch {
        let rows = mem::take(&mut self.rows[place]);
        let lanes = if self.together {
            0..LANES
        } else {
            place..place + 1
        };
        let step = self.marks.as_mut().map(|marks| {
            let from = marks[place];
            let through = rows.last().map_or(from, |row| row.at.rank);
            marks[lanes.clone()].fill(through);
            Step {
                lanes,
                from: signed(from),
                through: signed(through),
            }
        });
        self.together = step.is_none();
        self.most = BATCH;
        Batch { rows, step }
    }

    /// What is left at the end of the file.
    fn rest(mut self) -> impl Iterator<Item = Batch> {
        (0..LANES).filter_map(move |place| {
            let has_rows = !self.rows[place].is_empty();
            has_rows.then(|| self.take(place))
        })
    }
}

/// The record of a file's import, which is what makes each of its rows go in once.
pub struct Mark {
    pub hash: String,
    pub kind: &'static str,
}

impl Mark {
    /// Begins the import, or finds how far it came.
    pub fn begin(&self, conn: &mut PgConnection, caller: &Caller) -> Result<Begun> {
        let (company, author) = (caller.company, &caller.author);
        Ok(store::imports::begin(
            conn, company, &self.hash, self.kind, author,
        )?)
    }

    /// Takes a batch upon this run: the marks must still stand where they were left.
    pub fn take(&self, conn: &mut PgConnection, caller: &Caller, batch: &Batch) -> Result<()> {
        let company = caller.company;
        let is_ours = match &batch.step {
            Some(step) => store::imports::advance(conn, company, &self.hash, self.kind, step)?,
            None => {
                let ranks: Vec<i64> = batch.rows.iter().map(|row| signed(row.at.rank)).collect();
                store::imports::try_again(conn, company, &self.hash, self.kind, &ranks)?
            }
        };
        if is_ours {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::Conflict,
            "",
            "another import of the same file is under way: wait for it",
        )
        .into())
    }

    /// Counts a batch as done, and remembers the rows of it that were left out. All lanes count in one place, which is
    /// held to the end of the transaction: it comes last.
    pub fn count(&self, conn: &mut PgConnection, caller: &Caller, bad: &[Bad]) -> Result<()> {
        let left_out: Vec<store::imports::Refusal> = bad
            .iter()
            .map(|bad| store::imports::Refusal {
                company_id: caller.company,
                file_hash: self.hash.clone(),
                kind: self.kind.to_owned(),
                place: signed(bad.at.rank),
            })
            .collect();
        store::imports::count(conn, caller.company, &self.hash, self.kind, &left_out)?;
        Ok(())
    }

    /// Ends the import: all rows are done, so many.
    pub fn finish(&self, conn: &mut PgConnection, caller: &Caller, rows: u64) -> Result<()> {
        store::imports::finish(conn, caller.company, &self.hash, self.kind, signed(rows))?;
        Ok(())
    }
}

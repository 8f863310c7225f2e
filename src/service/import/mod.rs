//! Whole books from CSV files: what another system invoiced and credited ([`receivables`]), and the
//! receipts that settled it ([`receipts`]).
//!
//! A file is read as a stream, ahead of the books that are being written. A batch of rows is one
//! transaction that also moves the import's mark, so a file taken up again goes on after the last whole
//! batch. A bad row is left out and told; nothing of it is written, and the same file again tries such rows again.

mod layout;
pub mod receipts;
pub mod receivables;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use csv::ByteRecord;
use diesel::pg::PgConnection;
use sha2::Digest;

use self::layout::{Field, Layout, Mapping};
use super::files;
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::domain::ids::ClientId;
use crate::domain::money::Currency;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::document::Brief;
use crate::store::imports::{Begun, Step};
use crate::store::{self, Db};

/// Rows of one transaction: enough that the statements of a batch weigh little against its rows, and few
/// enough that whoever else posts in the company waits for less than a second.
const BATCH: usize = 2_000;
/// Rows of the first one: what the planner learns from them, the others go by.
const FIRST: usize = 200;
/// The planner is told of a company that has one in so many rows of a table; of smaller ones the rounds tell it.
const PART: i64 = 50;
/// How an allocation of an import came about.
const RULE: &str = "IMPORT";

/// What an import did, in this run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Rows that earlier runs of the same file had dealt with.
    pub skipped: u64,
    /// Whether there was nothing left to do.
    pub finished_before: bool,
    pub rows: u64,
    pub refused: u64,
    /// What was made of the rows.
    pub made: Made,
}

/// What became of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Made {
    pub invoices: u64,
    pub credit_notes: u64,
    pub receipts: u64,
    /// Matchings: parts of invoices that a receipt or a credit note settled.
    pub allocations: u64,
    pub clients: u64,
    /// Invoices taken in although their terms are above the legal ceiling (R6.2).
    pub above_ceiling: u64,
}

impl Made {
    fn add(&mut self, more: &Made) {
        self.invoices += more.invoices;
        self.credit_notes += more.credit_notes;
        self.receipts += more.receipts;
        self.allocations += more.allocations;
        self.clients += more.clients;
        self.above_ceiling += more.above_ceiling;
    }
}

/// Why an import ended early. The batches before it are kept.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] io::Error),
    /// The file cannot be read as CSV.
    #[error("{0}")]
    Csv(#[from] csv::Error),
    /// The mapping does not fit the file.
    #[error("{0}")]
    Mapping(String),
    /// The books refuse it or are away.
    #[error("{0}")]
    Books(#[from] Error),
}

/// Where a row stands in its file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    /// Among the rows, from 1. It alone names a row: two may begin on one line.
    rank: u64,
    /// For people, from 1 with the header.
    line: u64,
}

/// A row of the file as it stands there.
struct Record {
    at: Place,
    cells: ByteRecord,
}

/// A row of the file that was left out, and why.
struct Bad {
    at: Place,
    field: String,
    message: String,
}

impl Bad {
    /// The first reason of a refusal; any other error ends the import.
    fn of(at: Place, layout: &Layout, error: Error) -> Result<Bad> {
        match error {
            Error::Refused(reasons) => {
                let reason = reasons.into_iter().next();
                let (field, message) = reason
                    .map(|reason| (reason.field.join("."), reason.message))
                    .unwrap_or_default();
                Ok(Bad {
                    at,
                    field: layout.shown(&field).to_owned(),
                    message,
                })
            }
            other => Err(other),
        }
    }
}

/// What became of a batch.
#[derive(Default)]
struct Outcome {
    made: Made,
    bad: Vec<Bad>,
}

/// A kind of file: its columns, and how a batch of its rows is booked.
trait Kind {
    /// What the table of imports calls it.
    const NAME: &'static str;
    /// Its columns.
    const FIELDS: &'static [Field];
    /// The mapping of a file that is known by its header.
    fn sample(_header: &[String]) -> Option<Mapping> {
        None
    }
    /// Whether a row continues the record of the row before it: the two stay in one batch.
    fn continues(_layout: &Layout, _before: &Record, _row: &Record) -> bool {
        false
    }
    /// What the file is read with besides its mapping, for its fingerprint.
    fn manner(&self) -> u8 {
        0
    }
    /// Books a batch.
    fn book(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        layout: &Layout,
        batch: &[Record],
    ) -> Result<Outcome>;
}

/// Refuses an invoice, named in a column, that is another client's or in another currency than the row.
fn check_named(field: &str, invoice: &Brief, client: ClientId, currency: Currency) -> Result<()> {
    let number = &invoice.number;
    if invoice.client_id != client {
        let message = format!("invoice {number} belongs to another client");
        return Err(Refusal::invalid(field, message).into());
    }
    if invoice.currency != currency.code() {
        return Err(Refusal::new(
            RefusalCode::CurrencyMismatch,
            "currency",
            format!("invoice {number} is in {}", invoice.currency),
        )
        .into());
    }
    Ok(())
}

/// Imports a file for the caller's company; `tell` hears of each row left out.
fn run<K: Kind>(
    kind: &K,
    db: &Db,
    caller: &Caller,
    path: &Path,
    mapping: Option<&str>,
    mut tell: impl FnMut(&str),
) -> std::result::Result<Summary, Failure> {
    let mapping_text = mapping;
    let mapping = mapping
        .map(|text| Mapping::read(text, K::FIELDS))
        .transpose()?;
    let delimiter = match mapping.as_ref().and_then(|mapping| mapping.delimiter) {
        Some(sign) => u8::try_from(sign)
            .ok()
            .filter(u8::is_ascii)
            .ok_or_else(|| Failure::Mapping("the delimiter must be an ASCII character".into()))?,
        None => delimiter_of(path)?,
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_path(path)?;
    let header: Vec<String> = reader
        .byte_headers()?
        .iter()
        .map(|name| String::from_utf8_lossy(name).trim().to_owned())
        .collect();
    let mapping = mapping.or_else(|| K::sample(&header)).unwrap_or_default();
    let layout = Layout::of(mapping, K::FIELDS, header)?;

    let import = Import {
        hash: fingerprint(path, kind.manner(), mapping_text)?,
        kind: K::NAME,
    };
    let begun = db.write_now(caller, |conn, caller| import.begin(conn, caller))?;
    let wanted = match begun.finished {
        false => Wanted::Behind(begun.done),
        true => Wanted::Again(begun.refused),
    };
    let mut summary = Summary {
        skipped: wanted.skipped(begun.done),
        finished_before: wanted.is_nothing(),
        ..Summary::default()
    };
    if summary.finished_before {
        return Ok(summary);
    }
    // The next batch is read while the books take this one.
    let (sender, batches) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let (layout, wanted) = (&layout, &wanted);
        scope.spawn(move || {
            // Nobody listens once the import has ended early.
            let _ = read::<K>(reader, layout, wanted, |batch| {
                sender.send(Ok(batch)).is_ok()
            })
            .or_else(|error| sender.send(Err(error)));
        });
        let mut known_to_planner = 0;
        for batch in batches {
            let batch = batch?;
            let mark = summary.skipped + summary.rows;
            let outcome = db.write_now(caller, |conn, caller| {
                store::imports::by_keys(conn)?;
                import.take(conn, caller, wanted, mark, &batch)?;
                let outcome = kind.book(conn, caller, layout, &batch.rows)?;
                import.leave_out(conn, caller, &outcome.bad)?;
                Ok(outcome)
            })?;
            summary.rows += batch.rows.len() as u64;
            summary.made.add(&outcome.made);
            summary.refused += outcome.bad.len() as u64;
            for bad in outcome.bad {
                let (line, field, message) = (bad.at.line, bad.field, bad.message);
                tell(&format!("{}:{line}: {field}: {message}", path.display()));
            }
            // As the company doubles, and in the end.
            if batch.last || summary.rows >= 2 * known_to_planner {
                known_to_planner = summary.rows;
                tell_planner(db, caller, signed(known_to_planner), PART)?;
            }
        }
        Ok(summary)
    })
}

/// Tells PostgreSQL's planner of a company that it believes much smaller than it is, as
/// [`refresh_statistics`](store::imports::refresh_statistics) does, in a transaction of its own.
pub fn tell_planner(db: &Db, caller: &Caller, rows: i64, part: i64) -> Result<()> {
    db.write_now(caller, |conn, caller| {
        store::imports::refresh_statistics(conn, caller.company, rows, part)?;
        Ok(())
    })
}

/// Which rows of a file are still to be imported.
enum Wanted {
    /// Those behind so many.
    Behind(u64),
    /// Those that were left out before, by their ranks in order.
    Again(Vec<u64>),
}

impl Wanted {
    /// Rows dealt with before, of those that were come to.
    fn skipped(&self, done: u64) -> u64 {
        match self {
            Wanted::Behind(done) => *done,
            Wanted::Again(ranks) => done.saturating_sub(ranks.len() as u64),
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Wanted::Again(ranks) if ranks.is_empty())
    }

    /// Whether the row with this rank is one of them.
    fn has(&self, rank: u64) -> bool {
        match self {
            Wanted::Behind(done) => rank > *done,
            Wanted::Again(ranks) => ranks.binary_search(&rank).is_ok(),
        }
    }
}

/// Rows of one transaction.
struct Batch {
    rows: Vec<Record>,
    /// Whether the file ends with them.
    last: bool,
}

/// Reads the wanted rows of a file in batches, until `take` wants no more.
fn read<K: Kind>(
    mut reader: csv::Reader<File>,
    layout: &Layout,
    wanted: &Wanted,
    mut take: impl FnMut(Batch) -> bool,
) -> std::result::Result<(), Failure> {
    let mut rows: Vec<Record> = Vec::with_capacity(FIRST);
    let mut most = FIRST;
    for (rank, cells) in (1..).zip(reader.byte_records()) {
        let cells = cells?;
        let line = cells.position().map_or(0, csv::Position::line);
        if !wanted.has(rank) {
            continue;
        }
        let at = Place { rank, line };
        let record = Record { at, cells };
        let whole = rows.len() >= most
            && rows
                .last()
                .is_none_or(|before| !K::continues(layout, before, &record));
        if whole {
            let rows = std::mem::replace(&mut rows, Vec::with_capacity(BATCH));
            if !take(Batch { rows, last: false }) {
                return Ok(());
            }
            most = BATCH;
        }
        rows.push(record);
    }
    take(Batch { rows, last: true });
    Ok(())
}

/// Names the content of a file together with how it is read.
fn fingerprint(path: &Path, manner: u8, mapping: Option<&str>) -> io::Result<String> {
    let mut hasher = files::digest(path)?;
    hasher.update([0, manner]);
    hasher.update(mapping.unwrap_or_default());
    Ok(hex(&hasher.finalize()))
}

/// The sign that separates the header's columns: the most frequent of the usual three.
fn delimiter_of(path: &Path) -> io::Result<u8> {
    let mut header = Vec::new();
    BufReader::new(File::open(path)?)
        .take(64 * 1024)
        .read_until(b'\n', &mut header)?;
    let count = |sign: u8| header.iter().filter(|byte| **byte == sign).count();
    Ok(*b"\t;,"
        .iter()
        .max_by_key(|sign| count(**sign))
        .unwrap_or(&b','))
}

/// The record of a file's import, which is what makes each of its rows go in once.
struct Import {
    hash: String,
    kind: &'static str,
}

impl Import {
    /// Begins it, or finds how far it came.
    fn begin(&self, conn: &mut PgConnection, caller: &Caller) -> Result<Begun> {
        let (company, author) = (caller.company, &caller.author);
        Ok(store::imports::begin(
            conn, company, &self.hash, self.kind, author,
        )?)
    }

    /// Takes a batch of rows upon this run: the mark must still stand where it was left.
    fn take(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        wanted: &Wanted,
        mark: u64,
        batch: &Batch,
    ) -> Result<()> {
        let company = caller.company;
        let is_ours = match wanted {
            Wanted::Behind(_) => {
                let step = Step {
                    mark: signed(mark),
                    rows: signed(batch.rows.len() as u64),
                    last: batch.last,
                };
                store::imports::advance(conn, company, &self.hash, self.kind, step)?
            }
            Wanted::Again(_) => {
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

    /// Remembers the rows that were left out.
    fn leave_out(&self, conn: &mut PgConnection, caller: &Caller, bad: &[Bad]) -> Result<()> {
        let rows: Vec<store::imports::Refusal> = bad
            .iter()
            .map(|bad| store::imports::Refusal {
                company_id: caller.company,
                file_hash: self.hash.clone(),
                kind: self.kind.to_owned(),
                place: signed(bad.at.rank),
            })
            .collect();
        store::imports::refuse(conn, &rows)?;
        Ok(())
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn taken(what: &str) -> Error {
    Refusal::new(
        RefusalCode::Duplicate,
        "number",
        format!("{what} exists already"),
    )
    .into()
}

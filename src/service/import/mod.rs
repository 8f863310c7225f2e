//! Whole books from CSV files: what another system invoiced and credited ([`receivables`]), and the
//! receipts that settled it ([`receipts`]).
//!
//! A file is read as a stream, ahead of the books that are being written in two [`lanes`]. A batch of rows is one
//! transaction that also moves the [`mark`] of its lane, so a file taken up again goes on after the last whole
//! batches. A bad row is left out and told; nothing of it is written, and the same file again tries such rows again.

mod lanes;
mod layout;
mod mark;
pub mod receipts;
pub mod receivables;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::RwLock;

use csv::ByteRecord;
use diesel::pg::PgConnection;
use sha2::Digest;

use self::lanes::{Booking, Planner};
use self::layout::{Field, Layout, Mapping};
use self::mark::{Mark, Rows, Wanted};
use super::files;
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::domain::ids::ClientId;
use crate::domain::money::Currency;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::document::Brief;
use crate::store::{self, Db};

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
    /// Whether it goes on with the record of the row before, which is in the same batch.
    continues: bool,
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

/// When a batch locks the series of its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Series {
    /// At its end, so that other batches are written meanwhile. It may meet those who lock the series before items.
    Last,
    /// Before all else, as they do.
    First,
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
    /// What the rows of one record have in common, which stand one after another and stay in one batch; nothing when
    /// each row is a record.
    fn record<'a>(_layout: &Layout, _cells: &'a ByteRecord) -> &'a [u8] {
        &[]
    }
    /// What the file is read with besides its mapping, for its fingerprint.
    fn manner(&self) -> u8 {
        0
    }
    /// Books a batch, by numbers of entries that are drawn at its end, or held from its beginning.
    fn book(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        layout: &Layout,
        batch: &[Record],
        series: Series,
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
fn run<K: Kind + Sync>(
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

    let mark = Mark {
        hash: fingerprint(path, kind.manner(), mapping_text)?,
        kind: K::NAME,
    };
    let begun = db.write_now(caller, |conn, caller| mark.begin(conn, caller))?;
    let mut summary = Summary::default();
    let done = begun.done;
    let wanted = Wanted::of(begun);
    if wanted.is_nothing() {
        summary.skipped = done;
        summary.finished_before = true;
        return Ok(summary);
    }
    let booking = Booking {
        kind,
        db,
        caller,
        layout: &layout,
        mark: &mark,
        planner: Planner::default(),
        beside: RwLock::default(),
    };
    let rows = Rows::new(reader, &layout, wanted);
    let all = lanes::book(&booking, rows, |rows, outcome| {
        summary.rows += rows;
        summary.made.add(&outcome.made);
        summary.refused += outcome.bad.len() as u64;
        for bad in outcome.bad {
            let (line, field, message) = (bad.at.line, bad.field, bad.message);
            tell(&format!("{}:{line}: {field}: {message}", path.display()));
        }
    })?;
    summary.skipped = all - summary.rows;
    db.write_now(caller, |conn, caller| mark.finish(conn, caller, all))?;
    tell_planner(db, caller, signed(summary.rows), PART)?;
    Ok(summary)
}

/// Tells PostgreSQL's planner of a company that it believes much smaller than it is, as
/// [`refresh_statistics`](store::imports::refresh_statistics) does, in a transaction of its own.
pub fn tell_planner(db: &Db, caller: &Caller, rows: i64, part: i64) -> Result<()> {
    db.write_now(caller, |conn, caller| {
        store::imports::refresh_statistics(conn, caller.company, rows, part)?;
        Ok(())
    })
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

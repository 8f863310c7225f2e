//! Receivables from a CSV file: invoices, and the receipts that settled them.
//!
//! The file is read as a stream. A batch of rows is one transaction that also moves the import's
//! mark, so a file taken up again goes on after the last whole batch. A bad row is left out and
//! told; nothing of it is written.
//!
//! A mapping is TOML. Columns without an entry go by our own names; every key may be left out:
//!
//! ```toml
//! dateFormat = "%d/%m/%Y"     # as in strftime; %Y-%m-%d when absent
//! decimalSeparator = ","      # a point when absent
//! delimiter = ";"             # found in the header when absent
//! currency = "EUR"            # of rows that name none; the company's when absent
//!
//! [columns]
//! client = "Code client"      # needed; an unknown client is created
//! clientName = "Raison sociale"
//! number = "N° facture"       # needed
//! issuedOn = "Date"           # needed
//! dueOn = "Échéance"          # by the client's terms when empty
//! amount = "Montant TTC"      # needed, VAT included
//! currency = "Devise"
//! exchangeRate = "Cours"      # needed for a foreign currency: units of the company's for 1 of the row's
//! settledOn = "Réglée le"     # a receipt of the whole amount on that day
//! vatRate = "Taux"            # percent; no VAT when empty
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use chrono::{Datelike, NaiveDate};
use csv::ByteRecord;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::json;
use sha2::Digest;

use super::books::{self, Books, NewItem, NewLine, Posting};
use super::files;
use super::invoice;
use super::law;
use super::matching::{self, Pair};
use crate::domain::access::Caller;
use crate::domain::company::VatDue;
use crate::domain::hex::hex;
use crate::domain::ids::{DocumentId, Id, ItemId, PaymentId};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::terms::{Issue, TermsLaw};
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::client::Client;
use crate::store::document::{self, Document};
use crate::store::payment::{Payment, RECEIVABLE};
use crate::store::{self, Db};

/// Rows of one transaction.
const BATCH: usize = 500;
/// What the table of imports calls this one.
const KIND: &str = "receivables";
/// How an allocation of an import came about.
const RULE: &str = "IMPORT";

/// How to read a file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The text of a mapping.
    pub mapping: Option<String>,
    /// Leave the settlement days aside: everything stays open.
    pub ignore_settlements: bool,
}

/// What an import did, in this run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Rows that earlier runs of the same file had dealt with.
    pub skipped: u64,
    /// Whether there was nothing left to do.
    pub finished_before: bool,
    pub rows: u64,
    pub invoices: u64,
    pub receipts: u64,
    pub clients: u64,
    pub refused: u64,
    /// Invoices taken in although their terms are above the legal ceiling (R6.2).
    pub above_ceiling: u64,
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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mapping {
    #[serde(default)]
    columns: Columns<Option<String>>,
    date_format: Option<String>,
    decimal_separator: Option<char>,
    delimiter: Option<char>,
    currency: Option<String>,
}

/// Something for each field of a row.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Columns<T> {
    #[serde(default)]
    client: T,
    #[serde(default)]
    client_name: T,
    #[serde(default)]
    number: T,
    #[serde(default)]
    issued_on: T,
    #[serde(default)]
    due_on: T,
    #[serde(default)]
    amount: T,
    #[serde(default)]
    currency: T,
    #[serde(default)]
    exchange_rate: T,
    #[serde(default)]
    settled_on: T,
    #[serde(default)]
    vat_rate: T,
}

impl Mapping {
    /// The layout of a well-known sample of receivables, met in many places.
    fn sample() -> Mapping {
        let column = |name: &str| Some(name.to_owned());
        Mapping {
            columns: Columns {
                client: column("customerID"),
                number: column("invoiceNumber"),
                issued_on: column("InvoiceDate"),
                due_on: column("DueDate"),
                amount: column("InvoiceAmount"),
                settled_on: column("SettledDate"),
                ..Columns::default()
            },
            date_format: Some("%m/%d/%Y".into()),
            currency: Some("EUR".into()),
            ..Mapping::default()
        }
    }
}

/// Where each field of a row stands, and how it is written.
struct Layout {
    columns: Columns<Option<usize>>,
    /// The file's own names, for messages.
    header: Vec<String>,
    date_format: String,
    decimal_separator: char,
    currency: Option<String>,
}

impl Layout {
    fn of(given: Option<Mapping>, header: &ByteRecord) -> std::result::Result<Layout, Failure> {
        let header: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().to_owned())
            .collect();
        let place = |name: &str| header.iter().position(|column| column == name);
        let shown = || {
            let cut = |name: &String| name.chars().take(40).collect::<String>();
            let names: Vec<String> = header.iter().take(30).map(cut).collect();
            names.join(", ")
        };
        let mapping = given.unwrap_or_else(|| {
            let known = Mapping::sample();
            let wanted = [
                &known.columns.client,
                &known.columns.number,
                &known.columns.amount,
            ];
            let fits = wanted
                .iter()
                .all(|name| name.as_deref().is_some_and(|name| place(name).is_some()));
            if fits { known } else { Mapping::default() }
        });
        let find = |named: &Option<String>, own: &str, needed: bool| match named {
            Some(name) => match place(name) {
                Some(position) => Ok(Some(position)),
                None => Err(Failure::Mapping(format!(
                    "the mapping names the column `{name}` for {own}; the file has {}",
                    shown()
                ))),
            },
            None => match place(own) {
                None if needed => Err(Failure::Mapping(format!(
                    "no column is known for {own}: name it in a mapping; the file has {}",
                    shown()
                ))),
                found => Ok(found),
            },
        };
        let named = &mapping.columns;
        let columns = Columns {
            client: find(&named.client, "client", true)?,
            client_name: find(&named.client_name, "clientName", false)?,
            number: find(&named.number, "number", true)?,
            issued_on: find(&named.issued_on, "issuedOn", true)?,
            due_on: find(&named.due_on, "dueOn", false)?,
            amount: find(&named.amount, "amount", true)?,
            currency: find(&named.currency, "currency", false)?,
            exchange_rate: find(&named.exchange_rate, "exchangeRate", false)?,
            settled_on: find(&named.settled_on, "settledOn", false)?,
            vat_rate: find(&named.vat_rate, "vatRate", false)?,
        };
        let twice = header
            .iter()
            .enumerate()
            .find(|(n, name)| !name.is_empty() && header[..*n].contains(name));
        if let Some((_, name)) = twice {
            let name: String = name.chars().take(40).collect();
            return Err(Failure::Mapping(format!("two columns are named `{name}`")));
        }
        Ok(Layout {
            columns,
            header,
            date_format: mapping.date_format.unwrap_or_else(|| "%Y-%m-%d".into()),
            decimal_separator: mapping.decimal_separator.unwrap_or('.'),
            currency: mapping.currency,
        })
    }

    /// The file's name of a field, else our own.
    fn shown<'a>(&'a self, field: &'a str) -> &'a str {
        let place = match field {
            "client" => self.columns.client,
            "clientName" => self.columns.client_name,
            "number" => self.columns.number,
            "issuedOn" => self.columns.issued_on,
            "dueOn" => self.columns.due_on,
            "amount" => self.columns.amount,
            "currency" => self.columns.currency,
            "exchangeRate" => self.columns.exchange_rate,
            "settledOn" => self.columns.settled_on,
            "vatRate" => self.columns.vat_rate,
            _ => None,
        };
        place.map_or(field, |place| &self.header[place])
    }

    /// A field of a record, trimmed; blank counts as absent.
    fn text<'a>(
        &self,
        record: &'a ByteRecord,
        field: &str,
        place: Option<usize>,
    ) -> Result<Option<&'a str>> {
        let Some(bytes) = place.and_then(|place| record.get(place)) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Refusal::invalid(field, "the text is not UTF-8"))?
            .trim();
        Ok((!text.is_empty()).then_some(text))
    }

    fn day(&self, field: &str, text: &str) -> Result<NaiveDate> {
        NaiveDate::parse_from_str(text, &self.date_format)
            .ok()
            .filter(|day| (1900..=2200).contains(&day.year()))
            .ok_or_else(|| {
                Refusal::invalid(
                    field,
                    format!("`{text}` is not a day written as {}", self.date_format),
                )
                .into()
            })
    }

    fn decimal(&self, field: &str, text: &str) -> Result<Decimal> {
        let mut plain = String::with_capacity(text.len());
        let mut sound = true;
        for sign in text.chars() {
            match sign {
                sign if sign == self.decimal_separator => plain.push('.'),
                '0'..='9' | '-' | '+' => plain.push(sign),
                ' ' | '\u{a0}' | '\u{202f}' => {}
                _ => sound = false,
            }
        }
        plain.parse().ok().filter(|_| sound).ok_or_else(|| {
            Refusal::invalid(
                field,
                format!(
                    "`{text}` is not a number with `{}` before the decimals",
                    self.decimal_separator
                ),
            )
            .into()
        })
    }
}

/// A row as read, with nothing of the database in it but the currency.
struct Row {
    line: u64,
    client: String,
    client_name: Option<String>,
    number: String,
    issued_on: NaiveDate,
    due_on: Option<NaiveDate>,
    amount: Minor,
    currency: Currency,
    rate: Decimal,
    settled_on: Option<NaiveDate>,
    vat_rate: Decimal,
}

fn read_row(
    layout: &Layout,
    books: &Books,
    ignore_settlements: bool,
    line: u64,
    record: &ByteRecord,
) -> Result<Row> {
    check_shape(layout, record)?;
    let at = &layout.columns;
    let needed = |field: &str, place| {
        layout
            .text(record, field, place)?
            .ok_or_else(|| Error::from(Refusal::invalid(field, "a value is needed")))
    };
    let currency = match layout
        .text(record, "currency", at.currency)?
        .or(layout.currency.as_deref())
    {
        Some(code) => books::currency_input("currency", code)?,
        None => books.currency,
    };
    let amount = layout.decimal("amount", needed("amount", at.amount)?)?;
    // The unit price of the invoice's line holds twelve digits before the decimals.
    if amount >= Decimal::from(1_000_000_000_000_i64) {
        return Err(Refusal::invalid("amount", "the amount is too large").into());
    }
    let amount = books::amount("amount", amount, currency)?;
    let issued_on = layout.day("issuedOn", needed("issuedOn", at.issued_on)?)?;
    books.check_day("issuedOn", issued_on)?;
    let due_on = layout
        .text(record, "dueOn", at.due_on)?
        .map(|text| layout.day("dueOn", text))
        .transpose()?;
    if due_on.is_some_and(|due_on| due_on < issued_on) {
        return Err(Refusal::invalid("dueOn", "the due date is before the invoice's date").into());
    }
    let settled_on = match layout.text(record, "settledOn", at.settled_on)? {
        Some(text) if !ignore_settlements => Some(layout.day("settledOn", text)?),
        _ => None,
    };
    if let Some(settled_on) = settled_on {
        if settled_on < issued_on {
            return Err(Refusal::invalid(
                "settledOn",
                "the settlement is before the invoice's date",
            )
            .into());
        }
        books.check_day("settledOn", settled_on)?;
    }
    let given_rate = layout
        .text(record, "exchangeRate", at.exchange_rate)?
        .map(|text| layout.decimal("exchangeRate", text))
        .transpose()?;
    let vat_rate = layout
        .text(record, "vatRate", at.vat_rate)?
        .map(|text| layout.decimal("vatRate", text))
        .transpose()?
        .unwrap_or_default()
        .normalize();
    if vat_rate < Decimal::ZERO || vat_rate > Decimal::ONE_HUNDRED || vat_rate.scale() > 3 {
        return Err(Refusal::invalid(
            "vatRate",
            "a rate is between 0 and 100 percent, with at most 3 decimals",
        )
        .into());
    }
    Ok(Row {
        line,
        client: books::text("client", needed("client", at.client)?, 40)?,
        client_name: books::optional_text(
            "clientName",
            layout.text(record, "clientName", at.client_name)?,
            200,
        )?,
        // Room is left for the prefix of the receipt's number.
        number: books::text("number", needed("number", at.number)?, 57)?,
        issued_on,
        due_on,
        amount,
        currency,
        rate: books.rate(currency, given_rate)?,
        settled_on,
        vat_rate,
    })
}

/// A row with more cells than the header, or over many lines, is not what its writer meant.
fn check_shape(layout: &Layout, record: &ByteRecord) -> Result<()> {
    let (cells, columns) = (record.len(), layout.header.len());
    if cells > columns {
        let message = format!("the row has {cells} cells, the header {columns}");
        return Err(Refusal::invalid("", message).into());
    }
    let lines = record
        .as_slice()
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    if lines > 20 {
        let message = format!("the row goes over {lines} lines: is a quotation mark not closed?");
        return Err(Refusal::invalid("", message).into());
    }
    Ok(())
}

fn receipt_number(invoice: &str) -> String {
    format!("RG-{invoice}")
}

/// A line of the file that was left out, and why.
struct Bad {
    line: u64,
    field: String,
    message: String,
}

impl Bad {
    /// The first reason of a refusal; any other error ends the import.
    fn of(line: u64, layout: &Layout, error: Error) -> Result<Bad> {
        match error {
            Error::Refused(reasons) => {
                let reason = reasons.into_iter().next();
                let (field, message) = reason
                    .map(|reason| (reason.field.join("."), reason.message))
                    .unwrap_or_default();
                Ok(Bad {
                    line,
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
    invoices: u64,
    receipts: u64,
    clients: u64,
    above_ceiling: u64,
    bad: Vec<Bad>,
}

/// Imports a file of receivables for the caller's company; `tell` hears of each row left out.
pub fn receivables(
    db: &Db,
    caller: &Caller,
    path: &Path,
    options: &Options,
    mut tell: impl FnMut(&str),
) -> std::result::Result<Summary, Failure> {
    let mapping: Option<Mapping> = options
        .mapping
        .as_deref()
        .map(toml::from_str)
        .transpose()
        .map_err(|error| Failure::Mapping(format!("the mapping: {error}")))?;
    let hash = fingerprint(path, options)?;
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
    let layout = Layout::of(mapping, &reader.byte_headers()?.clone())?;

    let (done, finished) = db.write_now(caller, |conn, caller| begin(conn, caller, &hash))?;
    let mut summary = Summary {
        skipped: done,
        finished_before: finished,
        ..Summary::default()
    };
    if finished {
        return Ok(summary);
    }
    let mut records = reader.byte_records();
    for record in records
        .by_ref()
        .take(usize::try_from(done).unwrap_or(usize::MAX))
    {
        record?;
    }
    let mut known_to_planner = 0;
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        for record in records.by_ref().take(BATCH) {
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            batch.push((line, record));
        }
        let last = batch.len() < BATCH;
        let mark = summary.skipped + summary.rows;
        let outcome = db.write_now(caller, |conn, caller| {
            let outcome = book(conn, caller, &layout, options.ignore_settlements, &batch)?;
            advance(
                conn,
                caller,
                &hash,
                mark,
                batch.len(),
                outcome.bad.len(),
                last,
            )?;
            Ok(outcome)
        })?;
        summary.rows += batch.len() as u64;
        summary.invoices += outcome.invoices;
        summary.receipts += outcome.receipts;
        summary.clients += outcome.clients;
        summary.above_ceiling += outcome.above_ceiling;
        summary.refused += outcome.bad.len() as u64;
        for bad in outcome.bad {
            tell(&format!(
                "{}:{}: {}: {}",
                path.display(),
                bad.line,
                bad.field,
                bad.message
            ));
        }
        if last {
            return Ok(summary);
        }
        // As the company doubles.
        if summary.rows >= 2 * known_to_planner {
            known_to_planner = summary.rows;
            db.write_now(caller, |conn, _| {
                Ok(store::imports::refresh_statistics(conn)?)
            })?;
        }
    }
}

/// Names the content of a file together with how it is read.
fn fingerprint(path: &Path, options: &Options) -> io::Result<String> {
    let mut hasher = files::digest(path)?;
    hasher.update([0, u8::from(options.ignore_settlements)]);
    hasher.update(options.mapping.as_deref().unwrap_or_default());
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

/// Rows done so far, and whether that was all.
fn begin(conn: &mut PgConnection, caller: &Caller, hash: &str) -> Result<(u64, bool)> {
    let (done, finished) = store::imports::begin(conn, caller.company, hash, KIND, &caller.author)?;
    Ok((u64::try_from(done).unwrap_or_default(), finished))
}

/// Moves the mark of an import; it must still stand where this run left it.
fn advance(
    conn: &mut PgConnection,
    caller: &Caller,
    hash: &str,
    mark: u64,
    rows: usize,
    refused: usize,
    last: bool,
) -> Result<()> {
    let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
    let mark = i64::try_from(mark).unwrap_or(i64::MAX);
    let moved = store::imports::advance(
        conn,
        caller.company,
        hash,
        KIND,
        mark,
        count(rows),
        count(refused),
        last,
    )?;
    if moved {
        Ok(())
    } else {
        Err(Refusal::new(
            RefusalCode::Conflict,
            "",
            "another import of the same file is under way: wait for it",
        )
        .into())
    }
}

/// Books a batch: clients, invoices, receipts, and what they settle.
fn book(
    conn: &mut PgConnection,
    caller: &Caller,
    layout: &Layout,
    ignore_settlements: bool,
    batch: &[(u64, ByteRecord)],
) -> Result<Outcome> {
    let books = books::open(conn, caller)?;
    let mut outcome = Outcome::default();
    let mut rows = Vec::with_capacity(batch.len());
    for (line, record) in batch {
        match read_row(layout, &books, ignore_settlements, *line, record) {
            Ok(row) => rows.push(row),
            Err(error) => outcome.bad.push(Bad::of(*line, layout, error)?),
        }
    }
    let mut known = Known::load(conn, caller, &rows)?;
    let mut plan = Plan::default();
    for row in rows {
        match known.admit(&books, caller, &row) {
            Ok((client, due_on)) => {
                outcome.invoices += 1;
                outcome.receipts += u64::from(row.settled_on.is_some());
                outcome.above_ceiling += u64::from(known.above_ceiling(&client, &row, due_on)?);
                plan.add(&books, caller, &client, &row, due_on);
            }
            Err(error) => outcome.bad.push(Bad::of(row.line, layout, error)?),
        }
    }
    outcome.clients = known.added.len() as u64;
    outcome.bad.sort_by_key(|bad| bad.line);
    store::client::insert(conn, &known.added)?;
    plan.write(conn, caller, &books)?;
    Ok(outcome)
}

/// What the books hold already of a batch's numbers.
struct Known {
    law: TermsLaw,
    clients: HashMap<String, Client>,
    added: Vec<Client>,
    invoices: HashSet<String>,
    receipts: HashSet<String>,
}

impl Known {
    fn load(conn: &mut PgConnection, caller: &Caller, rows: &[Row]) -> Result<Known> {
        let company = caller.company;
        let clients: HashSet<String> = rows.iter().map(|row| row.client.clone()).collect();
        let clients: Vec<String> = clients.into_iter().collect();
        let numbers: Vec<String> = rows.iter().map(|row| row.number.clone()).collect();
        let receipts: Vec<String> = rows
            .iter()
            .filter(|row| row.settled_on.is_some())
            .map(|row| receipt_number(&row.number))
            .collect();
        let taken = store::payment::taken_numbers(conn, company, &receipts)?;
        Ok(Known {
            clients: store::client::by_numbers(conn, company, &clients)?
                .into_iter()
                .map(|client| (client.number.clone(), client))
                .collect(),
            added: Vec::new(),
            invoices: document::taken_numbers(conn, company, &numbers)?
                .into_iter()
                .collect(),
            receipts: taken.into_iter().collect(),
            law: law::terms(conn)?,
        })
    }

    /// Whether a due date is later than the law allows: it is kept and counted (R6.2). Invoices older
    /// than the ceilings have none.
    fn above_ceiling(&self, client: &Client, row: &Row, due_on: NaiveDate) -> Result<bool> {
        let (Some(buyer), Ok(ceilings)) = (invoice::buyer(client), self.law.on(row.issued_on))
        else {
            return Ok(false);
        };
        let issue = Issue {
            issued_on: row.issued_on,
            received_on: None,
            rule: invoice::terms_of(client)?.rule,
            periodic: false,
            buyer,
        };
        Ok(issue.check_due(due_on, &ceilings).is_err())
    }

    /// The client and due date of a row that may go in; a client not known yet is added.
    fn admit(&mut self, books: &Books, caller: &Caller, row: &Row) -> Result<(Client, NaiveDate)> {
        let taken = |what: &str| {
            Refusal::new(
                RefusalCode::Duplicate,
                "number",
                format!("{what} exists already"),
            )
        };
        if self.invoices.contains(&row.number) {
            return Err(taken(&format!("an invoice {}", row.number)).into());
        }
        let receipt = receipt_number(&row.number);
        if row.settled_on.is_some() && self.receipts.contains(&receipt) {
            return Err(taken(&format!("a receipt {receipt}")).into());
        }
        let found = self.clients.get(&row.client).cloned();
        let fresh = found.is_none();
        let client = found.unwrap_or_else(|| new_client(books, caller, row));
        if let Some(closed) = client.closed_on {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "client",
                format!(
                    "the account of client {} was closed on {closed}",
                    row.client
                ),
            )
            .into());
        }
        let due_on = match row.due_on {
            Some(due_on) => due_on,
            None => {
                let ceilings = self
                    .law
                    .on(row.issued_on)
                    .map_err(|error| law::not_covered("issuedOn", &error))?;
                invoice::terms_of(&client)?.due_on(row.issued_on, None, &ceilings)
            }
        };
        if fresh {
            self.clients.insert(row.client.clone(), client.clone());
            self.added.push(client.clone());
        }
        self.invoices.insert(row.number.clone());
        Ok((client, due_on))
    }
}

fn new_client(books: &Books, caller: &Caller, row: &Row) -> Client {
    Client {
        number: row.client.clone(),
        name: row
            .client_name
            .clone()
            .unwrap_or_else(|| row.client.clone()),
        ..super::client::blank(caller, books)
    }
}

/// The records of a batch, to be written together.
#[derive(Default)]
struct Plan {
    documents: Vec<Document>,
    lines: Vec<document::Line>,
    taxes: Vec<document::Tax>,
    payments: Vec<Payment>,
    postings: Vec<Posting>,
    /// Invoice, receipt, day and amount.
    settlements: Vec<(DocumentId, PaymentId, NaiveDate, Minor)>,
}

impl Plan {
    fn add(
        &mut self,
        books: &Books,
        caller: &Caller,
        client: &Client,
        row: &Row,
        due_on: NaiveDate,
    ) {
        let id = DocumentId::new();
        let (net, tax) = vat::split_gross(row.amount, row.vat_rate);
        self.add_document(books, caller, client, row, due_on, id, net, tax);
        let accounts = &books.settings.accounts;
        let item = NewItem {
            kind: "INVOICE",
            source_id: id.0,
            reference: row.number.clone(),
            invoice_id: Some(id),
            invoiced_on: row.issued_on,
            due_on: Some(due_on),
            document_net: net,
            document_total: row.amount,
        };
        self.postings.push(Posting {
            journal: "AN".into(),
            posted_on: row.issued_on,
            occurred_on: row.issued_on,
            reference: row.number.clone(),
            label: format!("Reprise facture {}", row.number),
            source_kind: "INVOICE",
            source_id: id.0,
            reversal_of: None,
            currency: row.currency,
            rate: row.rate,
            lines: vec![
                NewLine::debit(&accounts.receivable, row.amount).open(client.id, item),
                NewLine::credit(&accounts.opening, row.amount),
            ],
        });
        if let Some(settled_on) = row.settled_on {
            self.settle(books, caller, client, row, id, settled_on);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a document")]
    fn add_document(
        &mut self,
        books: &Books,
        caller: &Caller,
        client: &Client,
        row: &Row,
        due_on: NaiveDate,
        id: DocumentId,
        net: Minor,
        tax: Minor,
    ) {
        self.documents.push(Document {
            company_id: caller.company,
            id,
            kind: document::INVOICE.into(),
            number: row.number.clone(),
            external_ref: None,
            external_series: true,
            client_id: client.id,
            issued_on: row.issued_on,
            due_on: Some(due_on),
            currency: row.currency.code().to_owned(),
            net,
            vat: tax,
            total: row.amount,
            exchange_rate: row.rate,
            invoice_id: None,
            period_from: None,
            period_to: None,
            purchase_order: None,
            // The other system printed it: its mentions are not known here.
            snapshot: invoice::snapshot(books, client, &json!({})),
            recorded_by: caller.author.clone(),
            vat_due: VatDue::Debits.code().to_owned(),
            discount_percent: None,
            discount_days: None,
            deducted_discount: 0,
        });
        self.lines.push(document::Line {
            company_id: caller.company,
            document_id: id,
            line: 1,
            description: format!("Reprise facture {}", row.number),
            quantity: Decimal::ONE,
            unit_price: row.currency.decimal(net),
            discount_percent: Decimal::ZERO,
            vat_rate: row.vat_rate,
            net,
            account: books.settings.accounts.opening.clone(),
        });
        self.taxes.push(document::Tax {
            company_id: caller.company,
            document_id: id,
            vat_rate: row.vat_rate,
            net,
            vat: tax,
        });
    }

    /// D 512 / C 411 for the whole invoice on the day it was settled.
    fn settle(
        &mut self,
        books: &Books,
        caller: &Caller,
        client: &Client,
        row: &Row,
        invoice: DocumentId,
        settled_on: NaiveDate,
    ) {
        let id = PaymentId::new();
        let number = receipt_number(&row.number);
        let accounts = &books.settings.accounts;
        let item = NewItem {
            kind: "PAYMENT",
            source_id: id.0,
            reference: number.clone(),
            invoice_id: None,
            invoiced_on: settled_on,
            due_on: None,
            document_net: row.amount,
            document_total: row.amount,
        };
        self.postings.push(Posting {
            journal: "BQ".into(),
            posted_on: settled_on,
            occurred_on: settled_on,
            reference: number.clone(),
            label: format!("Règlement {number}"),
            source_kind: "PAYMENT",
            source_id: id.0,
            reversal_of: None,
            currency: row.currency,
            rate: row.rate,
            lines: vec![
                NewLine::debit(&accounts.bank, row.amount),
                NewLine::credit(&accounts.receivable, row.amount).open(client.id, item),
            ],
        });
        self.payments.push(Payment {
            company_id: caller.company,
            id,
            number,
            external_ref: None,
            external_series: true,
            received_on: settled_on,
            method: "TRANSFER".into(),
            amount: row.amount,
            currency: row.currency.code().to_owned(),
            exchange_rate: row.rate,
            client_id: Some(client.id),
            payer: None,
            remittance: None,
            matures_on: None,
            recorded_by: caller.author.clone(),
            purpose: RECEIVABLE.into(),
            deposit_vat_rate: None,
            bank_account: None,
        });
        self.settlements.push((invoice, id, settled_on, row.amount));
    }

    fn write(self, conn: &mut PgConnection, caller: &Caller, books: &Books) -> Result<()> {
        document::insert(conn, &self.documents, &self.lines, &self.taxes)?;
        store::payment::insert(conn, &self.payments)?;
        let items: HashMap<uuid::Uuid, ItemId> = books::post(conn, caller, books, self.postings)?
            .into_iter()
            .map(|item| (item.source_id, item.id))
            .collect();
        let mut per_day = BTreeMap::<NaiveDate, Vec<Pair>>::new();
        for (invoice, receipt, on, amount) in self.settlements {
            let (Some(debit), Some(credit)) = (items.get(&invoice.0), items.get(&receipt.0)) else {
                return Err(Error::Internal("a posted line has no open item".into()));
            };
            per_day.entry(on).or_default().push(Pair {
                debit: *debit,
                credit: *credit,
                amount,
                line: 0,
            });
        }
        for (on, pairs) in per_day {
            matching::match_pairs(conn, caller, books, &pairs, on, RULE)?;
        }
        Ok(())
    }
}

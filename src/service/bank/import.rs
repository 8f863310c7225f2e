//! Statements and notifications taken in: each once, without a gap, every movement once (13.1, R13.2).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use chrono::Datelike;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Record;
use super::apply::{self, Movement};
use crate::domain::access::Caller;
use crate::domain::bank::{LineStatus, Rule};
use crate::domain::hex::hex;
use crate::domain::ids::{BankLineId, BankStatementId, Id};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::formats::statement::{self, StatementError};
use crate::service::books::{self, Books};
use crate::service::files;
use crate::service::payment;
use crate::service::reference::Ref;
use crate::store::bank::{Account, Line, Statement};
use crate::store::{self};

/// What the table of imports calls this one.
const KIND: &str = "bank";

/// How a file is taken in.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A statement may follow one that is missing.
    pub allow_gap: bool,
    /// Company-currency units for one unit of the account's currency; needed when they differ.
    pub exchange_rate: Option<Decimal>,
    pub file_name: String,
}

/// A statement that was taken in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementReport {
    pub id: String,
    /// The bank's identification.
    pub reference: String,
    /// The label of the bank account.
    pub account: String,
    pub currency: String,
    /// Null in notifications.
    pub opening: Option<Decimal>,
    pub closing: Option<Decimal>,
    /// Movements of the file ...
    pub lines: usize,
    /// ... and those of them that an earlier file brought.
    pub known_before: usize,
}

/// What an import did.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the same file was imported before: then nothing was done.
    pub imported_before: bool,
    pub statements: Vec<StatementReport>,
    /// New movements by where they stand: `AUTOMATIC`, `PROPOSED`, `UNKNOWN` and so on.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Bookings of a batch that this file tells apart, in place of one sum.
    pub detailed: u64,
}

/// Takes a file in and matches its movements. All of it in the caller's transaction, or nothing; it holds
/// the accounts concerned until then.
pub fn import(
    conn: &mut PgConnection,
    caller: &Caller,
    path: &Path,
    options: &Options,
) -> Result<Report> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::Internal(format!("the file cannot be read: {error}")))?;
    import_bytes(conn, caller, &bytes, options)
}

/// The same for a file that is in memory.
pub fn import_bytes(
    conn: &mut PgConnection,
    caller: &Caller,
    bytes: &[u8],
    options: &Options,
) -> Result<Report> {
    let books = books::open(conn, caller)?;
    let mut statements = statement::read(bytes).map_err(invalid)?;
    let hash = hex(&Sha256::digest(bytes));
    if !store::imports::claim(conn, caller.company, &hash, KIND, &caller.author)? {
        return Ok(Report {
            imported_before: true,
            ..Report::default()
        });
    }
    statements.sort_by_key(statement::Statement::last_day);
    let mut report = Report::default();
    let mut lines = 0;
    for found in &statements {
        lines += found.movements.len();
        take_in(conn, caller, &books, found, options, &mut report)?;
    }
    let lines = i64::try_from(lines).unwrap_or(i64::MAX);
    store::imports::finish(conn, caller.company, &hash, KIND, lines)?;
    Ok(report)
}

fn invalid(error: StatementError) -> Error {
    files::invalid(error.line, error.field.as_deref(), error.to_string())
}

fn take_in(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    found: &statement::Statement,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let currency = books::currency_input("currency", &found.currency)?;
    let account = store::bank::account_for_update(
        conn,
        caller.company,
        &found.account,
        currency.code(),
    )?
    .ok_or_else(|| {
        Refusal::new(
            RefusalCode::NotFound,
            "account",
            format!(
                "statement {}: no bank account {} in {currency}: open it with saveBankAccount",
                found.reference,
                super::masked(&found.account)
            ),
        )
    })?;
    let rate = books.rate(currency, options.exchange_rate)?;
    let row = row_of(caller, &account, currency, found, options)?;
    check_sequence(conn, &account, currency, &row, options.allow_gap)?;
    store::bank::insert_statement(conn, &row)?;
    let (fresh, detailed) = fresh(conn, caller, books, &account, currency, &row, found)?;
    report.detailed += detailed;
    report.statements.push(StatementReport {
        id: row.id.show(),
        reference: row.reference.clone(),
        account: account.label.clone(),
        currency: row.currency.clone(),
        opening: found.opening,
        closing: found.closing,
        lines: found.movements.len(),
        known_before: found.movements.len() - fresh.len(),
    });
    let rows: Vec<Line> = fresh.iter().map(|(line, _)| line.clone()).collect();
    store::bank::insert_lines(conn, &rows)?;
    for (line, is_reversal) in &fresh {
        let movement = Movement {
            line,
            account: &account,
            currency,
            rate,
            is_reversal: *is_reversal,
        };
        let status = apply::decide(conn, caller, books, &movement)?;
        *report.outcomes.entry(status.code()).or_default() += 1;
    }
    Ok(())
}

fn row_of(
    caller: &Caller,
    account: &Account,
    currency: Currency,
    found: &statement::Statement,
    options: &Options,
) -> Result<Statement> {
    let Some(last_day) = found.last_day() else {
        let message = format!("statement {} has no date", found.reference);
        return Err(invalid(statement::wrong(1, Some("Stmt"), message)));
    };
    let balance =
        |amount: Option<Decimal>| amount.map(|amount| minor(currency, amount, 1)).transpose();
    Ok(Statement {
        company_id: caller.company,
        id: BankStatementId::new(),
        bank_account_id: account.id,
        format: found.format.code().to_owned(),
        reference: found.reference.clone(),
        sequence: found.sequence,
        from_on: found.from_on,
        to_on: Some(last_day),
        opening: balance(found.opening)?,
        closing: balance(found.closing)?,
        currency: currency.code().to_owned(),
        file_name: books::optional_text("fileName", Some(&options.file_name), 200)?
            .unwrap_or_else(|| "statement".into()),
        recorded_by: caller.author.clone(),
    })
}

fn minor(currency: Currency, amount: Decimal, line: u64) -> Result<Minor> {
    currency.minor(amount).ok_or_else(|| {
        let message = format!("{amount} has more decimals than {currency}");
        invalid(statement::wrong(line, Some("Amt"), message))
    })
}

/// A statement comes once, and begins where the one before it ended.
fn check_sequence(
    conn: &mut PgConnection,
    account: &Account,
    currency: Currency,
    row: &Statement,
    allow_gap: bool,
) -> Result<()> {
    if store::bank::statement_by_reference(conn, account, &row.format, &row.reference)?.is_some() {
        return Err(Refusal::new(
            RefusalCode::Duplicate,
            "file",
            format!(
                "statement {} of this account is here already",
                row.reference
            ),
        )
        .detail("reference", row.reference.clone())
        .into());
    }
    let (Some(opening), Some(day), false) = (row.opening, row.to_on, allow_gap) else {
        return Ok(());
    };
    let Some(before) = store::bank::statement_before(conn, account, day)? else {
        return Ok(());
    };
    let gap = |why: String| -> Error {
        Refusal::new(
            RefusalCode::StatementGap,
            "file",
            format!("{why}: import what is missing first, or allow the gap"),
        )
        .detail("statement", row.reference.clone())
        .detail("before", before.reference.clone())
        .into()
    };
    if let Some(closing) = before.closing.filter(|closing| *closing != opening) {
        return Err(gap(format!(
            "statement {} opens at {}, the one before it ({}) closed at {}",
            row.reference,
            currency.show(opening),
            before.reference,
            currency.show(closing)
        )));
    }
    let new_year = before.to_on.is_some_and(|last| last.year() < day.year());
    if let (Some(sequence), Some(last)) = (row.sequence, before.sequence)
        && row.format == before.format
        && sequence != last + 1
        && !(new_year && sequence == 1)
    {
        return Err(gap(format!(
            "statement {} has number {sequence}, the one before it has {last}",
            row.reference
        )));
    }
    Ok(())
}

/// The movements that no earlier file brought, and how many bookings of a batch they tell apart.
fn fresh(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    account: &Account,
    currency: Currency,
    statement: &Statement,
    found: &statement::Statement,
) -> Result<(Vec<(Line, bool)>, u64)> {
    let mut times: HashMap<String, u32> = HashMap::new();
    let mut lines = Vec::new();
    for (position, movement) in found.movements.iter().enumerate() {
        if movement.currency != found.currency {
            let message = format!(
                "a movement in {} on an account in {}",
                movement.currency, found.currency
            );
            return Err(invalid(statement::wrong(
                movement.line,
                Some("Ccy"),
                message,
            )));
        }
        let amount = minor(currency, movement.amount, movement.line)?;
        if amount == 0 {
            continue;
        }
        let key = key_of(movement, amount);
        let time = times
            .entry(key.clone())
            .and_modify(|times| *times += 1)
            .or_insert(1);
        let line = Line {
            company_id: caller.company,
            id: BankLineId::new(),
            statement_id: statement.id,
            bank_account_id: account.id,
            position: i32::try_from(position).unwrap_or(i32::MAX),
            fingerprint: hex(&Sha256::digest(format!("{key}|{time}"))),
            booked_on: movement.booked_on,
            value_on: movement.value_on,
            amount,
            currency: currency.code().to_owned(),
            counterparty: short(movement.counterparty.as_deref(), 200),
            counterparty_iban: movement.counterparty_iban.clone(),
            end_to_end_id: short(movement.end_to_end_id.as_deref(), 100),
            servicer_ref: movement.servicer_ref.clone(),
            structured: movement.structured.clone(),
            remittance: short(Some(&movement.text), 1000).unwrap_or_default(),
            return_reason: movement.return_reason.clone(),
            family: movement.family.clone(),
            status: LineStatus::Ignored.code().to_owned(),
            payment_id: None,
            entry_ref: movement.entry_ref.clone(),
            entry_id: None,
            entry_line: None,
        };
        lines.push((line, movement.is_reversal));
    }
    let fingerprints: Vec<String> = lines
        .iter()
        .map(|(line, _)| line.fingerprint.clone())
        .collect();
    let known: HashSet<String> = store::bank::known(conn, account, &fingerprints)?
        .into_iter()
        .collect();
    let (told, detailed) = told_by_entry(conn, caller, books, account, &lines)?;
    lines.retain(|(line, _)| {
        let by_entry = line
            .entry_ref
            .as_ref()
            .is_some_and(|entry| told.contains(entry));
        !known.contains(&line.fingerprint) && !by_entry
    });
    Ok((lines, detailed))
}

/// A movement without what may differ between a statement and a notification.
fn key_of(movement: &statement::Movement, amount: Minor) -> String {
    let own = match &movement.servicer_ref {
        Some(key) => key.clone(),
        None => [
            movement.text.as_str(),
            movement.counterparty.as_deref().unwrap_or_default(),
            movement.end_to_end_id.as_deref().unwrap_or_default(),
        ]
        .join("|"),
    };
    format!("{}|{amount}|{own}", movement.booked_on)
}

fn short(text: Option<&str>, longest: usize) -> Option<String> {
    let text = text?.trim();
    (!text.is_empty()).then(|| text.chars().take(longest).collect())
}

/// Bookings that another file told already, as one sum or payment by payment. A sum on 471 whose payments
/// this file tells is taken back: the payments come in its place.
fn told_by_entry(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    account: &Account,
    lines: &[(Line, bool)],
) -> Result<(HashSet<String>, u64)> {
    let mut groups: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for (line, _) in lines {
        if let Some(entry) = &line.entry_ref {
            groups.entry(entry).or_default().push(line);
        }
    }
    let entries: Vec<String> = groups.keys().map(|entry| (*entry).to_owned()).collect();
    let mut before: HashMap<String, Vec<Line>> = HashMap::new();
    for line in store::bank::lines_by_entries(conn, account, &entries)? {
        if line.status != LineStatus::Undone.code()
            && let Some(entry) = line.entry_ref.clone()
        {
            before.entry(entry).or_default().push(line);
        }
    }
    let (mut told, mut detailed) = (HashSet::new(), 0);
    for (entry, group) in groups {
        let Some(earlier) = before.get(entry) else {
            continue;
        };
        let sum = |lines: &mut dyn Iterator<Item = &Line>| -> Minor {
            lines.map(|line| line.amount).sum()
        };
        if sum(&mut earlier.iter()) != sum(&mut group.iter().copied())
            || earlier[0].booked_on != group[0].booked_on
        {
            // The bank uses its key again: another booking.
            continue;
        }
        match earlier.as_slice() {
            [whole]
                if group.len() > 1
                    && whole.status == LineStatus::Unknown.code()
                    && whole.amount > 0 =>
            {
                replace(conn, caller, books, whole)?;
                detailed += 1;
            }
            _ => {
                told.insert(entry.to_owned());
            }
        }
    }
    Ok((told, detailed))
}

/// Takes a sum back whose payments are now known.
fn replace(conn: &mut PgConnection, caller: &Caller, books: &Books, whole: &Line) -> Result<()> {
    const WHY: &str = "its payments came one by one in another file";
    if let Some(id) = whole.payment_id {
        let on = books.first_open_day(whole.booked_on);
        payment::reverse_any(conn, caller, &Ref::Id(id.show()), Some(on), WHY)?;
    }
    store::bank::set_status(
        conn,
        caller.company,
        whole.id,
        LineStatus::Undone.code(),
        None,
    )?;
    store::task::finish_of(conn, caller.company, whole.id.0, &caller.author)?;
    Record::of(Rule::UnknownPayer, LineStatus::Undone.code(), WHY).keep(conn, caller, whole)
}

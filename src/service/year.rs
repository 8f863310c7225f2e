//! Financial years: balances carried forward, and days locked for ever (issue of the year-end).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{Datelike, NaiveDate};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::books::{self, Books, CARRY_FORWARD, NewLine, Posting};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, EntryId, Id};
use crate::domain::money::Minor;
use crate::domain::numbering::FiscalYear;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Result;
use crate::store::ledger::Carried;
use crate::store::{self};

/// Lines of one entry at most: a line's position is a small number.
const ENTRY_LINES: usize = 20_000;

/// Financial years that have a name.
const YEARS: RangeInclusive<i32> = books::FIRST_YEAR..=2200;

/// The financial year of a name: 2026 ends in 2026.
pub fn named(books: &Books, name: i32) -> Result<FiscalYear> {
    let found = NaiveDate::from_ymd_opt(name, 1, 1)
        .map(|day| books.year(day))
        .filter(|year| year.ends_on.year() == name)
        .or_else(|| NaiveDate::from_ymd_opt(name, 12, 31).map(|day| books.year(day)));
    found
        .filter(|year| year.name == name && YEARS.contains(&name))
        .ok_or_else(|| {
            let (first, last) = (YEARS.start(), YEARS.end());
            Refusal::invalid(
                "year",
                format!("a year between {first} and {last} is needed"),
            )
            .into()
        })
}

/// Closes a financial year: its days are locked for ever, and balances are carried forward to the next
/// year's opening journal (à-nouveaux). Classes 6 and 7 are not closed by an entry (R10.4): their sum
/// stands on 120 or 129 in the opening.
pub fn close(conn: &mut PgConnection, caller: &Caller, name: i32) -> Result<i32> {
    store::company::hold(conn, caller.company)?;
    let books = books::open(conn, caller)?;
    let year = named(&books, name)?;
    if store::company::year_closing(conn, caller.company, name)?.is_some() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "year",
            format!("{name} is closed already"),
        )
        .into());
    }
    if books
        .closed_through()
        .is_none_or(|closed| closed < year.ends_on)
    {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "year",
            format!(
                "close the periods through {} first (closePeriod)",
                year.ends_on
            ),
        )
        .detail("endsOn", year.ends_on.to_string())
        .into());
    }
    if let Some(before) = store::company::unclosed_year_before(conn, caller.company, name)? {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "year",
            format!("{before} has entries and is not closed: close it first"),
        )
        .detail("year", before)
        .into());
    }
    let result = store::ledger::earned(conn, caller.company, year.starts_on, year.ends_on)?;
    let opens_on = year.ends_on.succ_opt().unwrap_or(year.ends_on);
    let balances = store::ledger::carried(conn, caller.company, year.ends_on)?;
    let postings = opening_entries(&books, &year, opens_on, &balances)?;
    books::post(conn, caller, &books, postings)?;
    store::company::insert_year_closing(conn, caller.company, name, result, &caller.author)?;
    store::company::insert_closing(
        conn,
        caller.company,
        Some(
            year.ends_on
                .max(books.closed_through().unwrap_or(year.ends_on)),
        ),
        &format!("clôture de l'exercice {name}"),
        &caller.author,
        Some(year.ends_on),
    )?;
    Ok(name)
}

/// One opening entry for each currency, client by client on auxiliary accounts.
fn opening_entries(
    books: &Books,
    year: &FiscalYear,
    opens_on: NaiveDate,
    balances: &[Carried],
) -> Result<Vec<Posting>> {
    let accounts = &books.settings.accounts;
    let mut by_currency: BTreeMap<&str, Vec<NewLine>> = BTreeMap::new();
    let source = EntryId::new();
    for balance in balances {
        let account = match balance.account.as_str() {
            // Earned: credits are more than debits.
            "" if balance.base <= 0 => &accounts.profit,
            "" => &accounts.loss,
            account => account,
        };
        by_currency
            .entry(&balance.currency)
            .or_default()
            .push(NewLine {
                client: balance.client_id.map(ClientId),
                base: Some(balance.base),
                ..NewLine::signed(account, balance.balance)
            });
    }
    let mut postings = Vec::new();
    for (currency, lines) in by_currency {
        let currency = books::currency(currency)?;
        let mut rest = lines.into_iter().peekable();
        while rest.peek().is_some() {
            let mut part: Vec<NewLine> = rest.by_ref().take(ENTRY_LINES).collect();
            // An entry of its own balances: what the others hold stands on the opening account.
            let (amount, base) = part.iter().fold((0, 0), |(amount, base), line| {
                (
                    amount + line.debit - line.credit,
                    base + line.base.unwrap_or_default(),
                )
            });
            if (amount, base) != (0, 0) {
                part.push(NewLine {
                    base: Some(-base),
                    ..NewLine::signed(&accounts.opening, -amount)
                });
            }
            if part.len() < 2 {
                continue;
            }
            postings.push(Posting {
                journal: "AN".into(),
                posted_on: opens_on,
                occurred_on: opens_on,
                reference: format!("AN-{}", year.name + 1),
                label: format!("À-nouveaux {}", year.name + 1),
                source_kind: CARRY_FORWARD,
                source_id: source.uuid(),
                reversal_of: None,
                currency,
                rate: Decimal::ONE,
                lines: part,
            });
        }
    }
    Ok(postings)
}

/// Where a financial year stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum YearState {
    /// Some of its days may be posted.
    Open,
    /// All its days are closed; they may be reopened.
    Closed,
    /// Carried forward and locked for ever.
    Locked,
}

/// A financial year with its state and, once closed, its result.
#[derive(Clone, Debug)]
pub struct YearView {
    pub year: FiscalYear,
    pub state: YearState,
    pub result: Option<Minor>,
}

/// The years that have entries, and the current one, latest first.
pub fn list(conn: &mut PgConnection, caller: &Caller) -> Result<Vec<YearView>> {
    let books = books::open(conn, caller)?;
    let mut names = store::company::years_with_entries(conn, caller.company)?;
    let current = books.year(caller.today).name;
    if !names.contains(&current) {
        names.push(current);
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    let mut years = Vec::new();
    for name in names {
        let year = named(&books, name)?;
        let result = store::company::year_closing(conn, caller.company, name)?;
        let state = match (result, books.closed_through()) {
            (Some(_), _) => YearState::Locked,
            (None, Some(closed)) if closed >= year.ends_on => YearState::Closed,
            _ => YearState::Open,
        };
        years.push(YearView {
            year,
            state,
            result,
        });
    }
    Ok(years)
}

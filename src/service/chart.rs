//! The company's chart of accounts: the PCG of the year with its own labels, and its journals.

use std::collections::HashMap;

use chrono::NaiveDate;
use diesel::pg::PgConnection;

use super::books::{self, Books};
use super::year;
use crate::domain::access::Caller;
use crate::domain::chart;
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::store::chart::Account;
use crate::store::{self};

/// An account as a reader of the chart sees it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub number: String,
    pub label: String,
    pub own: bool,
    pub closed_on: Option<NaiveDate>,
}

/// The chart of a financial year: accounts of the PCG and of the company, by number.
pub fn of_year(conn: &mut PgConnection, caller: &Caller, name: Option<i32>) -> Result<Vec<Listed>> {
    let books = books::open(conn, caller)?;
    let year = match name {
        Some(name) => year::named(&books, name)?,
        None => books.year(caller.today),
    };
    let own = store::chart::accounts(conn, caller.company)?;
    let mut listed: Vec<Listed> = chart::of_year(year.starts_on)
        .filter(|account| own.iter().all(|known| known.number != account.number))
        .map(|account| Listed {
            number: account.number.clone(),
            label: account.label.clone(),
            own: false,
            closed_on: None,
        })
        .collect();
    listed.extend(
        own.into_iter()
            .filter(|account| chart::account_of(&account.number, year.starts_on).is_ok())
            .map(|account| Listed {
                number: account.number,
                label: account.label,
                own: true,
                closed_on: account.closed_on,
            }),
    );
    listed.sort_by(|a, b| a.number.cmp(&b.number));
    Ok(listed)
}

/// The labels of accounts in a year: the company's, else those of the chart.
pub struct Labels {
    /// Those of the company, and those of the chart that were asked for: it is long, and questions repeat.
    known: HashMap<String, String>,
    year_opens_on: NaiveDate,
}

/// Loads the labels that count on a day.
pub fn labels(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    on: NaiveDate,
) -> Result<Labels> {
    Ok(Labels {
        known: store::chart::accounts(conn, caller.company)?
            .into_iter()
            .map(|account| (account.number, account.label))
            .collect(),
        year_opens_on: books.year(on).starts_on,
    })
}

impl Labels {
    /// The company's label of an account, else that of the chart, else its number; never empty.
    pub fn of(&mut self, account: &str) -> String {
        if let Some(label) = self.known.get(account) {
            return label.clone();
        }
        let label = chart::account_of(account, self.year_opens_on)
            .map_or_else(|_| account.to_owned(), |found| found.label.clone());
        self.known.insert(account.to_owned(), label.clone());
        label
    }
}

/// Names an account, or closes it from a day on. It must fall under the current year's chart.
pub fn save_account(
    conn: &mut PgConnection,
    caller: &Caller,
    number: &str,
    label: &str,
    closed_on: Option<NaiveDate>,
) -> Result<(String, String, Option<NaiveDate>)> {
    let books = books::open(conn, caller)?;
    if !chart::is_account_number(number) {
        return Err(Refusal::invalid(
            "number",
            "an account has 3 to 11 digits and begins with 1 to 8",
        )
        .into());
    }
    chart::account_of(number, books.year(caller.today).starts_on)
        .map_err(|error| books::not_in_chart_at("number", error))?;
    let mapped = serde_json::to_value(&books.settings.accounts)
        .map_err(|error| Error::Internal(error.to_string()))?;
    let event = mapped
        .as_object()
        .and_then(|map| map.iter().find(|(_, account)| *account == number));
    if let (Some((event, _)), Some(_)) = (event, closed_on) {
        return Err(Refusal::invalid(
            "closedOn",
            format!(
                "the account map posts {event} to it: change the setting accounts.{event} first"
            ),
        )
        .into());
    }
    let account = Account {
        company_id: caller.company,
        number: number.to_owned(),
        label: books::text("label", label, 200)?,
        closed_on,
    };
    store::chart::save(conn, &account)?;
    Ok((account.number, account.label, account.closed_on))
}

/// Adds a journal, or renames one.
pub fn save_journal(
    conn: &mut PgConnection,
    caller: &Caller,
    code: &str,
    label: &str,
) -> Result<(String, String)> {
    let sound = (1..=6).contains(&code.len())
        && code
            .bytes()
            .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit());
    if !sound {
        return Err(Refusal::invalid(
            "code",
            "a journal's code has 1 to 6 capital letters or digits",
        )
        .into());
    }
    let label = books::text("label", label, 100)?;
    store::chart::save_journal(conn, caller.company, code, &label)?;
    Ok((code.to_owned(), label))
}

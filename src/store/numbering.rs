//! Gapless numbers (R9.1, R9.2): a counter row per series and financial year, taken under its lock
//! in the transaction that issues. A rollback gives the number back. Take counters last.

use std::time::Instant;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Nullable};

use super::list::{Bind, Sql};
use super::patience;
use crate::domain::ids::CompanyId;
use crate::domain::numbering::{RANK_DIGITS, document_number_head};
use crate::error::{Error, Result};

/// The series of journal entries.
pub const ENTRY: &str = "ENTRY";

/// Numbers taken from a series.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Taken {
    /// The last of them.
    #[diesel(sql_type = BigInt)]
    pub last_number: i64,
    /// The latest day that the series has seen, this one included: later than the day asked for
    /// means that dates would go back while numbers go on.
    #[diesel(sql_type = Nullable<Date>)]
    pub last_on: Option<NaiveDate>,
}

/// Takes `count` numbers; locks the series until the transaction ends.
///
/// It touches one row by its key, so what takes long is never the statement: behind several writers it waits
/// for each of them in turn, and may come to the limit of a statement before that of a lock. What it has waited is
/// taken off the wait for the next locks.
pub fn take(
    conn: &mut PgConnection,
    company: CompanyId,
    series: &str,
    fiscal_year: i32,
    on: Option<NaiveDate>,
    count: i64,
) -> Result<Taken> {
    let statement = counting(
        company,
        &[Wanted {
            series,
            year: fiscal_year,
            count,
            on,
        }],
    )
    .steady();
    waiting(conn, series, |conn| statement.get_result(conn))
}

/// How many numbers are wanted of a series.
struct Wanted<'a> {
    series: &'a str,
    year: i32,
    count: i64,
    on: Option<NaiveDate>,
}

/// The statement that counts series up, in this order, and returns how far they are.
fn counting(company: CompanyId, wanted: &[Wanted<'_>]) -> Sql {
    let mut sql = Sql::new(
        "INSERT INTO counters AS c (company_id, series, fiscal_year, last_number, last_on) VALUES ",
    );
    for (place, wanted) in wanted.iter().enumerate() {
        if place > 0 {
            sql.push(", ", []);
        }
        sql.push(
            "(?, ?, ?, ?, ?)",
            [
                Bind::Id(company.0),
                Bind::Text(wanted.series.to_owned()),
                Bind::Small(wanted.year),
                Bind::Number(wanted.count),
                Bind::DayOrNone(wanted.on),
            ],
        );
    }
    sql.push(
        " ON CONFLICT (company_id, series, fiscal_year) DO UPDATE \
         SET last_number = c.last_number + EXCLUDED.last_number, last_on = GREATEST(c.last_on, EXCLUDED.last_on) \
         RETURNING series, last_number, last_on",
        [],
    );
    sql
}

/// Runs a statement that waits for a series, and takes its wait off the time that is left.
fn waiting<T>(
    conn: &mut PgConnection,
    series: &str,
    draw: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> Result<T> {
    let since = Instant::now();
    let drawn = draw(conn).map_err(|error| match Error::from(error) {
        Error::Timeout => Error::Unavailable(format!("others draw numbers of series {series}")),
        other => other,
    })?;
    patience::spend(conn, since)?;
    Ok(drawn)
}

/// The records of a series, among which one may have the next number already: given by hand.
#[derive(Clone, Copy, Debug)]
pub enum Numbered {
    /// Invoices and credit notes.
    Documents,
    /// Receipts.
    Payments,
    /// Clients.
    Clients,
}

impl Numbered {
    /// Whether one of them has the number `t.number`. The company is bound once.
    fn has(self) -> &'static str {
        match self {
            // Of either kind, said so that the index goes on to the number.
            Numbered::Documents => {
                "SELECT FROM documents d WHERE d.company_id = ? AND d.kind IN ('INVOICE', 'CREDIT_NOTE') AND d.number = t.number"
            }
            Numbered::Payments => {
                "SELECT FROM payments p WHERE p.company_id = ? AND p.number = t.number"
            }
            Numbered::Clients => {
                "SELECT FROM clients c WHERE c.company_id = ? AND c.number = t.number"
            }
        }
    }
}

/// Where a number is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// What its numbers begin with.
    pub prefix: &'a str,
    /// The financial year.
    pub year: i32,
    /// The day, of a series that keeps its days in order.
    pub on: Option<NaiveDate>,
    /// Whose numbers they are.
    pub of: Numbered,
}

/// A number drawn from a series.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    pub taken: Taken,
    /// A record has it already, as far as this statement saw.
    pub is_used: bool,
    /// The rank of an entry in its year, when that was wanted too.
    pub entry: Option<i64>,
}

/// The next number of a series, and that of an entry in `entry_year`: under their locks until the transaction ends, so
/// that everything about them is done by one statement, and the entry's last.
pub fn draw(
    conn: &mut PgConnection,
    company: CompanyId,
    series: &Series<'_>,
    entry_year: Option<i32>,
) -> Result<Drawn> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        taken: Taken,
        #[diesel(sql_type = Bool)]
        is_entry: bool,
        #[diesel(sql_type = Bool)]
        is_used: bool,
    }
    let own = Wanted {
        series: series.prefix,
        year: series.year,
        count: 1,
        on: series.on,
    };
    let entry = entry_year.map(|year| Wanted {
        series: ENTRY,
        year,
        count: 1,
        on: None,
    });
    let wanted: Vec<Wanted<'_>> = std::iter::once(own).chain(entry).collect();
    let mut sql = Sql::new("WITH n AS (");
    sql.append(&counting(company, &wanted));
    sql.push(
        &format!(
            "), t AS (SELECT n.*, n.series = '{ENTRY}' AS is_entry, \
               ? || lpad(last_number::text, greatest({RANK_DIGITS}, length(last_number::text)), '0') AS number FROM n) \
             SELECT last_number, last_on, is_entry, NOT is_entry AND EXISTS ({}) AS is_used FROM t",
            series.of.has()
        ),
        [
            Bind::Text(document_number_head(series.prefix, series.year)),
            Bind::Id(company.0),
        ],
    );
    let statement = sql.steady();
    let rows: Vec<Row> = waiting(conn, series.prefix, |conn| statement.load(conn))?;
    let entry = rows.iter().find(|row| row.is_entry);
    let own = rows.iter().find(|row| !row.is_entry);
    let own = own.ok_or_else(|| Error::Internal("a counter answered nothing".into()))?;
    Ok(Drawn {
        taken: own.taken,
        is_used: own.is_used,
        entry: entry.map(|row| row.taken.last_number),
    })
}

//! Gapless numbers (R9.1, R9.2): a counter row per series and financial year, taken under its lock
//! in the transaction that issues. A rollback gives the number back. Take counters last.

use std::time::Instant;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Nullable};

use super::list::{Bind, steady};
use super::patience;
use crate::domain::ids::CompanyId;
use crate::error::{Error, Result};

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
    let since = Instant::now();
    let taken = steady(
        "INSERT INTO counters AS c (company_id, series, fiscal_year, last_number, last_on) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (company_id, series, fiscal_year) DO UPDATE \
         SET last_number = c.last_number + EXCLUDED.last_number, last_on = GREATEST(c.last_on, EXCLUDED.last_on) \
         RETURNING last_number, last_on",
        [
            Bind::Id(company.0),
            Bind::Text(series.to_owned()),
            Bind::Small(fiscal_year),
            Bind::Number(count),
            Bind::DayOrNone(on),
        ],
    )
    .get_result(conn);
    let taken = taken.map_err(|error| match Error::from(error) {
        Error::Timeout => Error::Unavailable(format!("others draw numbers of series {series}")),
        other => other,
    })?;
    patience::spend(conn, since)?;
    Ok(taken)
}

//! Gapless numbers (R9.1, R9.2): a counter row per series and financial year, taken under its lock
//! in the transaction that issues. A rollback gives the number back. Take counters last: just before
//! what is written under the numbers.

use std::time::Instant;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Nullable, Text};

use super::bulk::{self, Drawing, Part, Rows};
use super::list::{Bind, Sql, Statement};
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
    let since = Instant::now();
    let taken = statement.get_result(conn).map_err(Error::from);
    waited(conn, series, since, taken)
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

/// The records of a series, among which one may have the next number already: given by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbered {
    /// Invoices and credit notes.
    Documents,
    /// Receipts.
    Payments,
    /// Clients.
    Clients,
}

impl Numbered {
    /// Whether one of them has the number `t.number`: `EXISTS (…)`, by whole keys, whatever the planner believes of a
    /// table that was empty a moment ago.
    fn has(self, company: CompanyId) -> Sql {
        let probes: &[&str] = match self {
            // Of either kind.
            Numbered::Documents => &[
                "documents d WHERE d.company_id = ? AND d.kind = 'INVOICE' AND d.number = t.number",
                "documents d WHERE d.company_id = ? AND d.kind = 'CREDIT_NOTE' AND d.number = t.number",
            ],
            Numbered::Payments => &["payments p WHERE p.company_id = ? AND p.number = t.number"],
            Numbered::Clients => &["clients c WHERE c.company_id = ? AND c.number = t.number"],
        };
        let mut sql = Sql::default();
        for (place, probe) in probes.iter().enumerate() {
            let before = if place == 0 { "" } else { " OR " };
            let text = format!("{before}EXISTS (SELECT FROM {probe})");
            sql.push(&text, [Bind::Id(company.0)]);
        }
        sql
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

/// The rank of an entry in its year that is written together with a record.
#[derive(Clone, Copy, Debug)]
pub enum Rank {
    /// The next one of the year.
    Next(i32),
    /// Drawn before.
    Drawn(i64),
}

/// The numbers of a record and of its entry. The statement that writes both draws them ([`Numbers::write`]): the series
/// are locked from there until the transaction ends, so that as little as can be is left to do under their locks.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a> {
    pub company: CompanyId,
    /// The record's number, when it was given by hand or drawn before; else the next of the series.
    pub given: Option<&'a str>,
    pub series: Series<'a>,
    /// The rank of the entry, for a record that makes one.
    pub entry: Option<Rank>,
}

/// What was drawn.
#[derive(Clone, Debug, QueryableByName)]
pub struct Drawn {
    /// The record's number.
    #[diesel(sql_type = Text)]
    pub number: String,
    /// The latest day that the series has seen, see [`Taken::last_on`].
    #[diesel(sql_type = Nullable<Date>)]
    pub last_on: Option<NaiveDate>,
    /// The entry's rank.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub entry: Option<i64>,
    /// A record has the number already, as far as the statement saw. Then nothing was written.
    #[diesel(sql_type = Bool)]
    pub is_used: bool,
    /// The rows were written. Neither when the number is used, nor when days would go back, nor when a [`Condition`] did
    /// not hold.
    #[diesel(sql_type = Bool)]
    pub is_written: bool,
}

/// What must be so for rows to be written under numbers: found out under the locks of the counters, by the same
/// statement.
#[derive(Default)]
pub(super) struct Condition {
    /// Parts of a `WITH`, each `, name AS MATERIALIZED (…)`. What they lock waits for `d`, the numbers drawn.
    pub parts: Sql,
    /// ` AND …` over these parts.
    pub holds: Sql,
    /// What changes together with the rows that are added, each `FROM g`: nothing when nothing is written.
    pub updates: Vec<Statement>,
}

impl Numbers<'_> {
    /// Draws the numbers and writes rows under them, which leave them empty (see [`bulk::Drawing`]). Nothing is written
    /// when the number is used already, nor when days would go back: the caller looks at what was drawn.
    pub(super) fn write(&self, conn: &mut PgConnection, rows: &[&dyn Rows]) -> QueryResult<Drawn> {
        let (numbers, parts) = (self.drawing(None), bulk::numbered(rows, Vec::new()));
        Drawing { numbers, parts }.get_result(conn)
    }

    /// The same if a condition holds, with what changes beside the rows.
    pub(super) fn write_if(
        &self,
        conn: &mut PgConnection,
        condition: Condition,
        rows: &[&dyn Rows],
    ) -> QueryResult<Drawn> {
        let numbers = self.drawing(Some(&condition));
        let parts = bulk::numbered(rows, condition.updates);
        Drawing { numbers, parts }.get_result(conn)
    }

    /// Draws the record's number alone, for rows that are written in another way.
    pub fn draw(&self, conn: &mut PgConnection) -> QueryResult<Drawn> {
        self.write(conn, &[])
    }

    fn drawing(&self, condition: Option<&Condition>) -> Statement {
        let Series {
            prefix,
            year,
            on,
            of,
        } = self.series;
        let own = self.given.is_none().then_some(Wanted {
            series: prefix,
            year,
            count: 1,
            on,
        });
        let (entry, rank) = match self.entry {
            Some(Rank::Next(year)) => (Some(year), None),
            Some(Rank::Drawn(rank)) => (None, Some(rank)),
            None => (None, None),
        };
        let entry = entry.map(|year| Wanted {
            series: ENTRY,
            year,
            count: 1,
            on: None,
        });
        let wanted: Vec<Wanted<'_>> = own.into_iter().chain(entry).collect();
        let counted = match wanted.is_empty() {
            true => Sql::new(
                "SELECT NULL::text AS series, NULL::bigint AS last_number, NULL::date AS last_on WHERE false",
            ),
            false => counting(self.company, &wanted),
        };
        let mut sql = Sql::new("WITH n AS (");
        sql.append(&counted)
            .push(
                &format!(
                    "), m AS (SELECT max(last_number) FILTER (WHERE series <> '{ENTRY}') AS rank, max(last_on) AS last_on, \
                       coalesce(?, max(last_number) FILTER (WHERE series = '{ENTRY}')) AS entry FROM n), \
                     t AS MATERIALIZED (SELECT m.*, \
                       coalesce(?, ? || lpad(rank::text, greatest({RANK_DIGITS}, length(rank::text)), '0')) AS number FROM m), \
                     d AS (SELECT number, last_on, entry, rank IS NOT NULL AND ("
                ),
                [
                    Bind::NumberOrNone(rank),
                    Bind::TextOrNone(self.given.map(str::to_owned)),
                    Bind::Text(document_number_head(prefix, year)),
                ],
            )
            .append(&of.has(self.company))
            .push(") AS is_used FROM t)", []);
        if let Some(condition) = condition {
            sql.append(&condition.parts);
        }
        sql.push(
            ", g AS (SELECT number, entry FROM d WHERE NOT is_used AND NOT coalesce(last_on > ?, false)",
            [Bind::DayOrNone(on.filter(|_| self.given.is_none()))],
        );
        if let Some(condition) = condition {
            sql.append(&condition.holds);
        }
        sql.push(")", []);
        sql.steady()
    }
}

/// The series of records that are written together, each with an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drawers {
    /// What the numbers of the records begin with.
    pub prefix: String,
    /// Their financial year.
    pub year: i32,
    /// Their day, of a series that keeps its days in order.
    pub on: Option<NaiveDate>,
    /// Whose numbers they are.
    pub of: Numbered,
    /// The financial year of the entries.
    pub entry_year: i32,
}

impl Drawers {
    /// Draws numbers for `count` records and writes `parts` under them, if a condition holds: all, or nothing when it does
    /// not, when a number is used already or when days would go back. Answers whether they were written.
    pub(super) fn write_all(
        &self,
        conn: &mut PgConnection,
        company: CompanyId,
        count: usize,
        condition: Condition,
        mut parts: Vec<Part<'_>>,
    ) -> QueryResult<bool> {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let numbers = self.drawing(company, count, &condition);
        for update in condition.updates {
            parts.push(Box::new(update));
        }
        let drawn: Vec<Drawn> = Drawing { numbers, parts }.load(conn)?;
        Ok(!drawn.is_empty() && drawn.iter().all(|drawn| drawn.is_written))
    }

    fn drawing(&self, company: CompanyId, count: i32, condition: &Condition) -> Statement {
        let wanted = |series, year, on| Wanted {
            series,
            year,
            count: count.into(),
            on,
        };
        let counted = counting(
            company,
            &[
                wanted(&self.prefix, self.year, self.on),
                wanted(ENTRY, self.entry_year, None),
            ],
        );
        let mut sql = Sql::new("WITH n AS (");
        sql.append(&counted)
            .push(
                &format!(
                    "), m AS (SELECT max(last_number) FILTER (WHERE series <> '{ENTRY}') AS last, max(last_on) AS last_on, \
                       max(last_number) FILTER (WHERE series = '{ENTRY}') AS entry FROM n), \
                     r AS (SELECT k.place, m.last_on, m.last - w.count + k.place AS rank, m.entry - w.count + k.place AS entry \
                       FROM m, (SELECT ?) w(count), generate_series(1, w.count) k(place)), \
                     t AS MATERIALIZED (SELECT r.*, ? || lpad(rank::text, greatest({RANK_DIGITS}, length(rank::text)), '0') AS number FROM r), \
                     d AS (SELECT place, number, last_on, entry, ("
                ),
                [
                    Bind::Small(count),
                    Bind::Text(document_number_head(&self.prefix, self.year)),
                ],
            )
            .append(&self.of.has(company))
            .push(") AS is_used FROM t)", [])
            .append(&condition.parts)
            .push(
                ", g AS MATERIALIZED (SELECT place, number, entry FROM d \
                   WHERE NOT (SELECT bool_or(is_used) FROM d) AND NOT coalesce(last_on > ?, false)",
                [Bind::DayOrNone(self.on)],
            )
            .append(&condition.holds)
            .push(")", []);
        sql.steady()
    }
}

/// What waited for a series, from when on, and how it ended: takes the wait off the time that is left.
pub fn waited<T>(
    conn: &mut PgConnection,
    series: &str,
    since: Instant,
    done: Result<T>,
) -> Result<T> {
    let done = done.map_err(|error| match error {
        Error::Timeout => {
            Error::Unavailable(format!("others write under numbers of series {series}"))
        }
        other => other,
    })?;
    patience::spend(conn, since)?;
    Ok(done)
}

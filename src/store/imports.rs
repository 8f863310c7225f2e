//! How far imports came, so that a file taken up again goes on where it stopped, or is left alone when done.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};

use super::bulk;
use super::list::{Bind, steady};
use super::schema::{import_refusals, imports};
use crate::domain::ids::CompanyId;

/// How far an import has come.
#[derive(Debug)]
pub struct Begun {
    /// Rows done so far.
    pub done: u64,
    /// Whether its end was reached.
    pub finished: bool,
    /// The places of the rows that were left out, in order; none before its end was reached.
    pub refused: Vec<u64>,
}

/// Begins an import, or finds it.
pub fn begin(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    author: &str,
) -> QueryResult<Begun> {
    claim(conn, company, hash, kind, author)?;
    let (done, finished): (i64, Option<DateTime<Utc>>) = imports::table
        .find((company, hash, kind))
        .select((imports::rows_done, imports::finished_at))
        .first(conn)?;
    let refused: Vec<i64> = match finished {
        None => Vec::new(),
        Some(_) => import_refusals::table
            .filter(import_refusals::company_id.eq(company))
            .filter(import_refusals::file_hash.eq(hash))
            .filter(import_refusals::kind.eq(kind))
            .order(import_refusals::place)
            .select(import_refusals::place)
            .load(conn)?,
    };
    let count = |rows: i64| u64::try_from(rows).unwrap_or_default();
    Ok(Begun {
        done: count(done),
        finished: finished.is_some(),
        refused: refused.into_iter().map(count).collect(),
    })
}

/// A row of a file that was left out.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub company_id: CompanyId,
    pub file_hash: String,
    pub kind: String,
    /// Among the rows, from 1.
    pub place: i64,
}

bulk::rows! { Refusal => "import_refusals" { company_id: SqlUuid, file_hash: Text, kind: Text, place: BigInt } }

/// Remembers rows that were left out.
pub fn refuse(conn: &mut PgConnection, rows: &[Refusal]) -> QueryResult<()> {
    let Some(Refusal {
        company_id,
        file_hash,
        kind,
        ..
    }) = rows.first()
    else {
        return Ok(());
    };
    count_refused(conn, *company_id, file_hash, kind, rows.len(), 1)?;
    bulk::insert(conn, rows)
}

fn count_refused(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    rows: usize,
    sign: i64,
) -> QueryResult<()> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    diesel::update(imports::table.find((company, hash, kind)))
        .set(imports::rows_refused.eq(imports::rows_refused + sign * rows))
        .execute(conn)
        .map(drop)
}

/// Takes rows that are tried again from those that were left out; false when another run has taken one of them.
pub fn try_again(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    places: &[i64],
) -> QueryResult<bool> {
    let taken = diesel::delete(import_refusals::table)
        .filter(import_refusals::company_id.eq(company))
        .filter(import_refusals::file_hash.eq(hash))
        .filter(import_refusals::kind.eq(kind))
        .filter(import_refusals::place.eq_any(places))
        .execute(conn)?;
    count_refused(conn, company, hash, kind, taken, -1)?;
    Ok(taken == places.len())
}

/// Begins an import; false when the file was begun or finished before. Two at once wait for each other.
pub fn claim(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    author: &str,
) -> QueryResult<bool> {
    diesel::insert_into(imports::table)
        .values((
            imports::company_id.eq(company),
            imports::file_hash.eq(hash),
            imports::kind.eq(kind),
            imports::started_by.eq(author),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .map(|rows| rows == 1)
}

/// How far the mark of an import is moved.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Where it stands: rows done before.
    pub mark: i64,
    /// Rows done now.
    pub rows: i64,
    /// Whether that was all.
    pub last: bool,
}

/// Moves the mark of an import; false when another run moved it meanwhile.
pub fn advance(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    step: Step,
) -> QueryResult<bool> {
    diesel::update(imports::table.find((company, hash, kind)))
        .filter(imports::rows_done.eq(step.mark))
        .filter(imports::finished_at.is_null())
        .set((
            imports::rows_done.eq(imports::rows_done + step.rows),
            imports::finished_at.eq(step.last.then(Utc::now)),
        ))
        .execute(conn)
        .map(|moved| moved == 1)
}

/// Ends an import that was done in one go.
pub fn finish(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    rows: i64,
) -> QueryResult<()> {
    let step = Step {
        mark: 0,
        rows,
        last: true,
    };
    advance(conn, company, hash, kind, step).map(drop)
}

/// Lets the rest of the transaction find rows by indexes alone, its foreign keys too, and plan each statement once:
/// of a table that is small yet, PostgreSQL would keep the plan that reads all of it, and of a company that it does
/// not know yet it expects no rows, so that any index looks as good as the key.
pub fn by_keys(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan",
    )
}

/// A company with one in so many rows of a table shows in the sample that the planner takes of it.
pub const SEEN: i64 = 2_000;

/// Tells the planner how large the tables have become, where it believes them much smaller: a company that was just
/// filled looks empty to it. `rows` have been added at least; tables of which the company holds less than one in
/// `part` rows are passed over.
pub fn refresh_statistics(
    conn: &mut PgConnection,
    company: CompanyId,
    rows: i64,
    part: i64,
) -> QueryResult<()> {
    steady(
        "SELECT refresh_statistics(?, ?, ?)",
        [Bind::Id(company.0), Bind::Number(rows), Bind::Number(part)],
    )
    .execute(conn)
    .map(drop)
}

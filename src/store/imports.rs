//! How far imports came, so that a file taken up again goes on where it stopped, or is left alone when done.

use std::ops::Range;

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::bulk;
use super::list::{Bind, steady};
use super::schema::{import_lanes, import_refusals, imports};
use crate::domain::ids::CompanyId;

/// Lanes in which the rows of a file are booked, side by side. Files under way have their marks by it: it stays.
pub const LANES: usize = 2;

/// How far an import has come.
#[derive(Debug)]
pub struct Begun {
    /// Up to this place all rows are done.
    pub done: u64,
    /// Of each lane, the place up to which its rows are done.
    pub marks: [u64; LANES],
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
    let mut marks = [0; LANES];
    for (mark, through) in marks
        .iter_mut()
        .zip(lanes(conn, company, hash, kind, done)?)
    {
        *mark = count(through);
    }
    Ok(Begun {
        done: count(done),
        marks,
        finished: finished.is_some(),
        refused: refused.into_iter().map(count).collect(),
    })
}

/// The marks of the lanes, which are where the import stands at least.
fn lanes(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    done: i64,
) -> QueryResult<Vec<i64>> {
    let new: Vec<_> = (0_i16..)
        .take(LANES)
        .map(|lane| {
            (
                import_lanes::company_id.eq(company),
                import_lanes::file_hash.eq(hash),
                import_lanes::kind.eq(kind),
                import_lanes::lane.eq(lane),
                import_lanes::done_through.eq(done),
            )
        })
        .collect();
    diesel::insert_into(import_lanes::table)
        .values(new)
        .on_conflict_do_nothing()
        .execute(conn)?;
    // A binary that knows one mark for all rows may have gone on.
    diesel::update(import_lanes::table)
        .filter(import_lanes::company_id.eq(company))
        .filter(import_lanes::file_hash.eq(hash))
        .filter(import_lanes::kind.eq(kind))
        .filter(import_lanes::done_through.lt(done))
        .set(import_lanes::done_through.eq(done))
        .execute(conn)?;
    import_lanes::table
        .filter(import_lanes::company_id.eq(company))
        .filter(import_lanes::file_hash.eq(hash))
        .filter(import_lanes::kind.eq(kind))
        .order(import_lanes::lane)
        .select(import_lanes::done_through)
        .load(conn)
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

bulk::rows!(Refusal => "import_refusals" { company_id: SqlUuid, file_hash: Text, kind: Text, place: BigInt });

/// Moves the mark of an import to that of the lane that is behind, and remembers rows that were left out. It is one for
/// all lanes, and held until the transaction ends.
pub fn count(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    refused: &[Refusal],
) -> QueryResult<()> {
    let left_out = i64::try_from(refused.len()).unwrap_or(i64::MAX);
    steady(
        "UPDATE imports i SET rows_refused = i.rows_refused + ?, rows_done = GREATEST(i.rows_done, ( \
           SELECT min(l.done_through) FROM import_lanes l \
           WHERE l.company_id = i.company_id AND l.file_hash = i.file_hash AND l.kind = i.kind)) \
         WHERE i.company_id = ? AND i.file_hash = ? AND i.kind = ?",
        [
            Bind::Number(left_out),
            Bind::Id(company.0),
            Bind::Text(hash.to_owned()),
            Bind::Text(kind.to_owned()),
        ],
    )
    .execute(conn)?;
    bulk::insert(conn, refused)
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
    diesel::update(imports::table.find((company, hash, kind)))
        .set(
            imports::rows_refused
                .eq(imports::rows_refused - i64::try_from(taken).unwrap_or(i64::MAX)),
        )
        .execute(conn)?;
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

/// How far the marks of lanes are moved.
#[derive(Clone, Debug)]
pub struct Step {
    /// Those that are moved, which stand at the same place.
    pub lanes: Range<usize>,
    pub from: i64,
    pub through: i64,
}

/// Moves the marks of lanes, which are held until the transaction ends; false when another run moved one meanwhile.
pub fn advance(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    step: &Step,
) -> QueryResult<bool> {
    let lanes: Vec<i16> = step
        .lanes
        .clone()
        .filter_map(|lane| i16::try_from(lane).ok())
        .collect();
    diesel::update(import_lanes::table)
        .filter(import_lanes::company_id.eq(company))
        .filter(import_lanes::file_hash.eq(hash))
        .filter(import_lanes::kind.eq(kind))
        .filter(import_lanes::lane.eq_any(&lanes))
        .filter(import_lanes::done_through.eq(step.from))
        .set(import_lanes::done_through.eq(step.through))
        .execute(conn)
        .map(|moved| moved == lanes.len())
}

/// Ends an import, of so many rows.
pub fn finish(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    rows: i64,
) -> QueryResult<()> {
    diesel::update(imports::table.find((company, hash, kind)))
        .filter(imports::finished_at.is_null())
        .set((
            imports::rows_done.eq(rows),
            imports::finished_at.eq(Utc::now()),
        ))
        .execute(conn)
        .map(drop)
}

/// Prepares a transaction that books a batch.
///
/// It finds rows by indexes alone, its foreign keys too, and plans each statement once: of a table that is small yet,
/// PostgreSQL would keep the plan that reads all of it, and of a company that it does not know yet it expects no rows,
/// so that any index looks as good as the key. And it may write items before the lines of their entries.
pub fn prepare(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "SET LOCAL enable_seqscan = off; SELECT plan_once(); \
         SET CONSTRAINTS ALL DEFERRED",
    )
}

/// Lets the rest of the transaction wait for another of the same import, which may post for seconds: longer than anybody
/// waits who locks the numbers that others want.
pub fn be_patient(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '1min'")
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

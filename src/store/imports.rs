//! How far imports came, so that a file taken up again goes on where it stopped, or is left alone when done.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::schema::imports;
use crate::domain::ids::CompanyId;

/// Begins an import, or finds it: rows done so far, and whether it was finished.
pub fn begin(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    author: &str,
) -> QueryResult<(i64, bool)> {
    claim(conn, company, hash, kind, author)?;
    let (done, finished): (i64, Option<DateTime<Utc>>) = imports::table
        .find((company, hash, kind))
        .select((imports::rows_done, imports::finished_at))
        .first(conn)?;
    Ok((done, finished.is_some()))
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

/// Moves the mark of an import from `mark`; false when another run moved it meanwhile.
#[expect(
    clippy::too_many_arguments,
    reason = "the row, where it stood and where it goes"
)]
pub fn advance(
    conn: &mut PgConnection,
    company: CompanyId,
    hash: &str,
    kind: &str,
    mark: i64,
    rows: i64,
    refused: i64,
    last: bool,
) -> QueryResult<bool> {
    diesel::update(imports::table.find((company, hash, kind)))
        .filter(imports::rows_done.eq(mark))
        .filter(imports::finished_at.is_null())
        .set((
            imports::rows_done.eq(imports::rows_done + rows),
            imports::rows_refused.eq(imports::rows_refused + refused),
            imports::finished_at.eq(last.then(Utc::now)),
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
    advance(conn, company, hash, kind, 0, rows, 0, true).map(drop)
}

/// Tells the planner how large the tables have become: a company that was just filled looks empty to it.
pub fn refresh_statistics(conn: &mut PgConnection) -> QueryResult<()> {
    diesel::sql_query("SELECT refresh_statistics()")
        .execute(conn)
        .map(drop)
}

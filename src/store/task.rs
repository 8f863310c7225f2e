//! Tasks: what a person has to look at.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use uuid::Uuid;

use super::list::{Bind, Sql};
use super::schema::tasks;
use crate::domain::ids::{ClientId, CompanyId, TaskId};

/// A task about a record.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = tasks)]
pub struct Task {
    pub company_id: CompanyId,
    pub id: TaskId,
    pub kind: String,
    pub subject: String,
    /// The record concerned.
    pub source_id: Uuid,
    pub due_on: NaiveDate,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub done_at: Option<DateTime<Utc>>,
    pub done_by: Option<String>,
    /// Whose account it is about; none when that is not known.
    pub client_id: Option<ClientId>,
}

/// Adds a task; a record has at most one of a kind that is not done.
pub fn insert(conn: &mut PgConnection, row: &Task) -> QueryResult<()> {
    diesel::insert_into(tasks::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)
        .map(drop)
}

/// Tasks by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[TaskId],
) -> QueryResult<Vec<Task>> {
    tasks::table
        .filter(tasks::company_id.eq(company))
        .filter(tasks::id.eq_any(ids))
        .select(Task::as_select())
        .load(conn)
}

/// Ends the tasks about a record that are not done.
pub fn finish_of(
    conn: &mut PgConnection,
    company: CompanyId,
    source: Uuid,
    author: &str,
) -> QueryResult<()> {
    diesel::update(tasks::table)
        .filter(tasks::company_id.eq(company))
        .filter(tasks::source_id.eq(source))
        .filter(tasks::done_at.is_null())
        .set((tasks::done_at.eq(Utc::now()), tasks::done_by.eq(author)))
        .execute(conn)
        .map(drop)
}

/// Ends the tasks of a kind about a record that are not done.
pub fn finish_kind(
    conn: &mut PgConnection,
    company: CompanyId,
    source: Uuid,
    kind: &str,
    author: &str,
) -> QueryResult<()> {
    diesel::update(tasks::table)
        .filter(tasks::company_id.eq(company))
        .filter(tasks::source_id.eq(source))
        .filter(tasks::kind.eq(kind))
        .filter(tasks::done_at.is_null())
        .set((tasks::done_at.eq(Utc::now()), tasks::done_by.eq(author)))
        .execute(conn)
        .map(drop)
}

/// Ends a task; false when it was done before.
pub fn finish(
    conn: &mut PgConnection,
    company: CompanyId,
    id: TaskId,
    author: &str,
) -> QueryResult<bool> {
    diesel::update(tasks::table.find((company, id)))
        .filter(tasks::done_at.is_null())
        .set((tasks::done_at.eq(Utc::now()), tasks::done_by.eq(author)))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// `FROM tasks t WHERE …`: of some kinds, done or not.
pub fn from(company: CompanyId, kinds: &[String], done: Option<bool>) -> Sql {
    let mut sql = Sql::default();
    sql.push("FROM tasks t WHERE t.company_id = ?", [Bind::Id(company.0)]);
    if !kinds.is_empty() {
        sql.and("t.kind = ANY(?)", [Bind::Texts(kinds.to_vec())]);
    }
    match done {
        Some(true) => sql.and("t.done_at IS NOT NULL", []),
        Some(false) => sql.and("t.done_at IS NULL", []),
        None => &mut sql,
    };
    sql
}

/// Whether a record ever had a task of a kind, done or not.
pub fn known(
    conn: &mut PgConnection,
    company: CompanyId,
    source: Uuid,
    kind: &str,
) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(
        tasks::table
            .filter(tasks::company_id.eq(company))
            .filter(tasks::source_id.eq(source))
            .filter(tasks::kind.eq(kind)),
    ))
    .get_result(conn)
}

/// The tasks about clients themselves that are not done: whose, and of which kind.
pub fn open_of_clients(
    conn: &mut PgConnection,
    company: CompanyId,
    clients: &[ClientId],
) -> QueryResult<Vec<(Uuid, String)>> {
    let sources: Vec<Uuid> = clients.iter().map(|client| client.0).collect();
    tasks::table
        .filter(tasks::company_id.eq(company))
        .filter(tasks::source_id.eq_any(sources))
        .filter(tasks::done_at.is_null())
        .select((tasks::source_id, tasks::kind))
        .load(conn)
}

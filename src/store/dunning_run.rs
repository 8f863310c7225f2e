//! Runs of reminders, and what became of registered letters.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, Date, Text, Uuid as SqlUuid};

use super::list::{Bind, Sql};
use super::schema::{dunning_proofs, dunning_run_lines, dunning_runs};
use crate::domain::ids::{
    ClientId, CompanyId, DunningActionId, DunningRunId, DunningRunLineId, FileId,
};
use uuid::Uuid;

/// A run.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = dunning_runs)]
pub struct Run {
    pub company_id: CompanyId,
    pub id: DunningRunId,
    pub as_of: NaiveDate,
    pub automatic: bool,
    pub status: String,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
    pub validated_at: Option<DateTime<Utc>>,
    pub validated_by: Option<String>,
    pub ended_at: Option<DateTime<Utc>>,
    pub ended_by: Option<String>,
    /// Whether who validated it may approve what is above a threshold.
    pub approved: bool,
}

/// A reminder in a run. `claimed` is minor units of `currency`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = dunning_run_lines)]
pub struct RunLine {
    pub company_id: CompanyId,
    pub run_id: DunningRunId,
    pub id: DunningRunLineId,
    pub client_id: ClientId,
    pub currency: String,
    pub level: i16,
    pub channel: String,
    pub claimed: i64,
    pub items: i32,
    pub status: String,
    pub reason: Option<String>,
    pub action_id: Option<DunningActionId>,
    pub decided_by: Option<String>,
}

/// Writes a run with its reminders.
pub fn insert(conn: &mut PgConnection, run: &Run, lines: &[RunLine]) -> QueryResult<()> {
    diesel::insert_into(dunning_runs::table)
        .values(run)
        .execute(conn)?;
    // A statement takes 65,535 values at most.
    for part in lines.chunks(4000) {
        diesel::insert_into(dunning_run_lines::table)
            .values(part)
            .execute(conn)?;
    }
    Ok(())
}

/// The run that is under way, of its sort.
pub fn under_way(
    conn: &mut PgConnection,
    company: CompanyId,
    automatic: bool,
) -> QueryResult<Option<Run>> {
    dunning_runs::table
        .filter(dunning_runs::company_id.eq(company))
        .filter(dunning_runs::automatic.eq(automatic))
        .filter(dunning_runs::status.eq_any(["PROPOSED", "VALIDATED"]))
        .select(Run::as_select())
        .first(conn)
        .optional()
}

/// Locks a run until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DunningRunId,
) -> QueryResult<Option<Run>> {
    dunning_runs::table
        .find((company, id))
        .select(Run::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// Runs by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DunningRunId],
) -> QueryResult<Vec<Run>> {
    dunning_runs::table
        .filter(dunning_runs::company_id.eq(company))
        .filter(dunning_runs::id.eq_any(ids))
        .select(Run::as_select())
        .load(conn)
}

/// `FROM dunning_runs t WHERE …`.
pub fn from(company: CompanyId) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM dunning_runs t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    sql
}

/// `FROM dunning_run_lines t WHERE …` of a run.
pub fn lines_from(company: CompanyId, run: DunningRunId) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM dunning_run_lines t WHERE t.company_id = ? AND t.run_id = ?",
        [Bind::Id(company.0), Bind::Id(run.0)],
    );
    sql
}

/// The lines of a run, or some of them.
pub fn lines(
    conn: &mut PgConnection,
    company: CompanyId,
    run: DunningRunId,
    ids: Option<&[DunningRunLineId]>,
) -> QueryResult<Vec<RunLine>> {
    let mut query = dunning_run_lines::table
        .filter(dunning_run_lines::company_id.eq(company))
        .filter(dunning_run_lines::run_id.eq(run))
        .select(RunLine::as_select())
        .into_boxed();
    if let Some(ids) = ids {
        query = query.filter(dunning_run_lines::id.eq_any(ids));
    }
    query.order(dunning_run_lines::id).load(conn)
}

/// How many lines of a run stand how.
pub fn counts(
    conn: &mut PgConnection,
    company: CompanyId,
    run: DunningRunId,
) -> QueryResult<Vec<(String, i64)>> {
    dunning_run_lines::table
        .filter(dunning_run_lines::company_id.eq(company))
        .filter(dunning_run_lines::run_id.eq(run))
        .group_by(dunning_run_lines::status)
        .order(dunning_run_lines::status)
        .select((dunning_run_lines::status, diesel::dsl::count_star()))
        .load(conn)
}

/// Writes what becomes of a line.
pub fn settle_line(conn: &mut PgConnection, line: &RunLine) -> QueryResult<()> {
    diesel::update(dunning_run_lines::table.find((line.company_id, line.run_id, line.id)))
        .set((
            dunning_run_lines::status.eq(&line.status),
            dunning_run_lines::claimed.eq(line.claimed),
            dunning_run_lines::items.eq(line.items),
            dunning_run_lines::reason.eq(&line.reason),
            dunning_run_lines::action_id.eq(line.action_id),
            dunning_run_lines::decided_by.eq(&line.decided_by),
        ))
        .execute(conn)
        .map(drop)
}

/// Writes the state of a run.
pub fn update(conn: &mut PgConnection, run: &Run) -> QueryResult<()> {
    diesel::update(dunning_runs::table.find((run.company_id, run.id)))
        .set((
            dunning_runs::status.eq(&run.status),
            dunning_runs::validated_at.eq(run.validated_at),
            dunning_runs::validated_by.eq(&run.validated_by),
            dunning_runs::ended_at.eq(run.ended_at),
            dunning_runs::ended_by.eq(&run.ended_by),
            dunning_runs::approved.eq(run.approved),
        ))
        .execute(conn)
        .map(drop)
}

/// What became of a registered letter.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = dunning_proofs)]
pub struct Proof {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub action_id: DunningActionId,
    pub client_id: ClientId,
    pub kind: String,
    pub happened_on: NaiveDate,
    pub reference: String,
    pub file_id: Option<FileId>,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// Adds a proof; each kind once a letter.
pub fn insert_proof(conn: &mut PgConnection, row: &Proof) -> QueryResult<()> {
    diesel::insert_into(dunning_proofs::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// The proofs of reminders, oldest first.
pub fn proofs(
    conn: &mut PgConnection,
    company: CompanyId,
    actions: &[DunningActionId],
) -> QueryResult<Vec<Proof>> {
    dunning_proofs::table
        .filter(dunning_proofs::company_id.eq(company))
        .filter(dunning_proofs::action_id.eq_any(actions))
        .order(dunning_proofs::id)
        .select(Proof::as_select())
        .load(conn)
}

/// A letter whose acknowledgment has not come back.
#[derive(Clone, Debug, QueryableByName)]
pub struct Unanswered {
    #[diesel(sql_type = SqlUuid)]
    pub action_id: DunningActionId,
    #[diesel(sql_type = SqlUuid)]
    pub client_id: ClientId,
    #[diesel(sql_type = Text)]
    pub reference: String,
    #[diesel(sql_type = Date)]
    pub happened_on: NaiveDate,
}

/// Letters deposited on or before a day, of which nothing came back (R7.9).
pub fn unanswered(
    conn: &mut PgConnection,
    company: CompanyId,
    through: NaiveDate,
) -> QueryResult<Vec<Unanswered>> {
    diesel::sql_query(
        "SELECT p.action_id, p.client_id, p.reference, p.happened_on FROM dunning_proofs p \
         WHERE p.company_id = $1 AND p.kind = 'DEPOSIT' AND p.happened_on <= $2 AND NOT EXISTS (SELECT 1 FROM dunning_proofs a \
           WHERE a.company_id = p.company_id AND a.action_id = p.action_id AND a.kind = ANY($3)) \
           AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.company_id = p.company_id AND t.source_id = p.action_id AND t.kind = 'ACKNOWLEDGMENT_MISSING')",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Date, _>(through)
    .bind::<Array<Text>, _>(vec!["ACKNOWLEDGMENT", "REFUSED", "UNCLAIMED", "UNDELIVERED"])
    .load(conn)
}

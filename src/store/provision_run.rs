//! Provision runs: what was computed when a run was proposed, and where it stands.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use rust_decimal::Decimal;

use super::list::{Bind, Direction, Keyset, Sql};
use super::schema::{provision_run_clients, provision_run_lines, provision_runs};
use crate::domain::ids::{ClientId, CompanyId, ItemId, ProvisionRunId};

/// A run.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = provision_runs)]
pub struct Run {
    pub company_id: CompanyId,
    pub id: ProvisionRunId,
    pub number: String,
    pub as_of: NaiveDate,
    pub policy_name: Option<String>,
    pub policy_version: Option<i32>,
    pub content: serde_json::Value,
    pub currency: String,
    pub recorded_by: String,
    pub status: String,
    pub approved_by: Option<String>,
    pub approved_at: Option<DateTime<Utc>>,
    pub decision: Option<String>,
    pub posted_by: Option<String>,
    pub posted_at: Option<DateTime<Utc>>,
    pub posted_on: Option<NaiveDate>,
    pub cancelled_by: Option<String>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub cancelled_on: Option<NaiveDate>,
}

/// A client's movement in a run, in the company's currency (R5.10).
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = provision_run_clients)]
pub struct RunClient {
    pub company_id: CompanyId,
    pub run_id: ProvisionRunId,
    pub client_id: ClientId,
    pub required: i64,
    pub previous: i64,
    pub charge: i64,
    pub release: i64,
}

/// A claim in a run, in its own currency.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = provision_run_lines)]
pub struct RunLine {
    pub company_id: CompanyId,
    pub run_id: ProvisionRunId,
    pub item_id: ItemId,
    pub client_id: ClientId,
    pub reference: String,
    pub due_on: NaiveDate,
    pub open: i64,
    pub exposure: i64,
    pub base: i64,
    pub insured: i64,
    pub disputed_base: i64,
    pub rate: Decimal,
    pub disputed_rate: Decimal,
    pub provision: i64,
    pub method: String,
    pub deductible: bool,
    pub currency: String,
}

/// Adds a run.
pub fn insert(conn: &mut PgConnection, run: &Run) -> QueryResult<()> {
    diesel::insert_into(provision_runs::table)
        .values(run)
        .execute(conn)
        .map(drop)
}

/// Adds clients and claims of a run.
pub fn insert_parts(
    conn: &mut PgConnection,
    clients: &[RunClient],
    lines: &[RunLine],
) -> QueryResult<()> {
    for chunk in clients.chunks(500) {
        diesel::insert_into(provision_run_clients::table)
            .values(chunk)
            .execute(conn)?;
    }
    for chunk in lines.chunks(500) {
        diesel::insert_into(provision_run_lines::table)
            .values(chunk)
            .execute(conn)?;
    }
    Ok(())
}

/// Runs by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ProvisionRunId],
) -> QueryResult<Vec<Run>> {
    provision_runs::table
        .filter(
            provision_runs::company_id
                .eq(company)
                .and(provision_runs::id.eq_any(ids)),
        )
        .select(Run::as_select())
        .load(conn)
}

/// A run by its number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<Run>> {
    provision_runs::table
        .filter(
            provision_runs::company_id
                .eq(company)
                .and(provision_runs::number.eq(number)),
        )
        .select(Run::as_select())
        .first(conn)
        .optional()
}

/// Locks a run until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ProvisionRunId,
) -> QueryResult<Option<Run>> {
    provision_runs::table
        .find((company, id))
        .select(Run::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// The run that was posted last, if any.
pub fn last_posted(
    conn: &mut PgConnection,
    company: CompanyId,
) -> QueryResult<Option<ProvisionRunId>> {
    provision_runs::table
        .filter(
            provision_runs::company_id
                .eq(company)
                .and(provision_runs::status.eq("POSTED")),
        )
        .order((provision_runs::posted_at.desc(), provision_runs::id.desc()))
        .select(provision_runs::id)
        .first(conn)
        .optional()
}

/// Writes where a run stands.
pub fn update(conn: &mut PgConnection, run: &Run) -> QueryResult<()> {
    diesel::update(provision_runs::table.find((run.company_id, run.id)))
        .set((
            provision_runs::status.eq(&run.status),
            provision_runs::approved_by.eq(&run.approved_by),
            provision_runs::approved_at.eq(run.approved_at),
            provision_runs::decision.eq(&run.decision),
            provision_runs::posted_by.eq(&run.posted_by),
            provision_runs::posted_at.eq(run.posted_at),
            provision_runs::posted_on.eq(run.posted_on),
            provision_runs::cancelled_by.eq(&run.cancelled_by),
            provision_runs::cancelled_at.eq(run.cancelled_at),
            provision_runs::cancelled_on.eq(run.cancelled_on),
        ))
        .execute(conn)
        .map(drop)
}

/// The clients of a run with a movement or a requirement, by id.
pub fn clients(
    conn: &mut PgConnection,
    company: CompanyId,
    run: ProvisionRunId,
) -> QueryResult<Vec<RunClient>> {
    provision_run_clients::table
        .filter(
            provision_run_clients::company_id
                .eq(company)
                .and(provision_run_clients::run_id.eq(run)),
        )
        .order(provision_run_clients::client_id)
        .select(RunClient::as_select())
        .load(conn)
}

/// A run's sums, in the company's currency.
#[derive(Clone, Copy, Debug, Default, QueryableByName)]
pub struct Totals {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub required: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub previous: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub charge: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub release: i64,
}

/// The sums of a run.
pub fn totals(
    conn: &mut PgConnection,
    company: CompanyId,
    run: ProvisionRunId,
) -> QueryResult<Totals> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT coalesce(sum(required), 0)::bigint AS required, coalesce(sum(previous), 0)::bigint AS previous, \
           coalesce(sum(charge), 0)::bigint AS charge, coalesce(sum(release), 0)::bigint AS release \
         FROM provision_run_clients WHERE company_id = ? AND run_id = ?",
        [Bind::Id(company.0), Bind::Id(run.0)],
    );
    sql.query().get_result(conn)
}

/// A page of a run's clients by number; and whether more follow.
pub fn client_page(
    conn: &mut PgConnection,
    company: CompanyId,
    run: ProvisionRunId,
    page: &Keyset,
) -> QueryResult<(Vec<RunClient>, bool)> {
    use super::schema::clients;
    let mut query = provision_run_clients::table
        .inner_join(
            clients::table.on(clients::company_id
                .eq(provision_run_clients::company_id)
                .and(clients::id.eq(provision_run_clients::client_id))),
        )
        .filter(
            provision_run_clients::company_id
                .eq(company)
                .and(provision_run_clients::run_id.eq(run)),
        )
        .limit(page.limit())
        .select(RunClient::as_select())
        .into_boxed();
    let from = page.from.as_ref().map(|(number, _)| number.clone());
    query = match page.reading(Direction::Ascending) {
        Direction::Ascending => query.order(clients::number.asc()),
        Direction::Descending => query.order(clients::number.desc()),
    };
    if let Some(number) = from {
        query = if page.backward {
            query.filter(clients::number.lt(number))
        } else {
            query.filter(clients::number.gt(number))
        };
    }
    Ok(page.page(query.load(conn)?))
}

/// The claims of some clients in a run, oldest due first.
pub fn lines(
    conn: &mut PgConnection,
    company: CompanyId,
    run: ProvisionRunId,
    clients: &[ClientId],
) -> QueryResult<Vec<RunLine>> {
    provision_run_lines::table
        .filter(
            provision_run_lines::company_id
                .eq(company)
                .and(provision_run_lines::run_id.eq(run))
                .and(provision_run_lines::client_id.eq_any(clients)),
        )
        .order((
            provision_run_lines::client_id,
            provision_run_lines::due_on,
            provision_run_lines::item_id,
        ))
        .select(RunLine::as_select())
        .load(conn)
}

/// `FROM provision_runs t WHERE …`, narrowed to states.
pub fn from(company: CompanyId, statuses: &[String]) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM provision_runs t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if !statuses.is_empty() {
        sql.and("t.status = ANY(?)", [Bind::Texts(statuses.to_vec())]);
    }
    sql
}

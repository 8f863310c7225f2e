//! The collectors' desk: calls and notes, payment plans, the worklist, how reliable a client is.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Bpchar, Date, Integer, Nullable, Text, Uuid as SqlUuid,
};

use super::list::{Bind, Sql};
use super::schema::{collection_notes, instalment_plans, instalments, plan_items};
use crate::domain::ids::{ClientId, CompanyId, ItemId, NoteId, PlanId, UserId};

/// A call, a visit or a note.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = collection_notes)]
pub struct Note {
    pub company_id: CompanyId,
    pub id: NoteId,
    pub client_id: ClientId,
    pub kind: String,
    pub outcome: String,
    pub spoke_to: Option<String>,
    pub note: String,
    pub done_on: NaiveDate,
    pub follow_up_on: Option<NaiveDate>,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// Adds a note.
pub fn insert_note(conn: &mut PgConnection, row: &Note) -> QueryResult<()> {
    diesel::insert_into(collection_notes::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// `FROM collection_notes t WHERE …`, of a client or of all.
pub fn notes_from(company: CompanyId, client: Option<ClientId>) -> Sql {
    of_client("collection_notes", company, client)
}

fn of_client(table: &str, company: CompanyId, client: Option<ClientId>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        &format!("FROM {table} t WHERE t.company_id = ?"),
        [Bind::Id(company.0)],
    );
    if let Some(client) = client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    sql
}

/// Notes by id, oldest first.
pub fn notes_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[NoteId],
) -> QueryResult<Vec<Note>> {
    collection_notes::table
        .filter(collection_notes::company_id.eq(company))
        .filter(collection_notes::id.eq_any(ids))
        .order(collection_notes::id)
        .select(Note::as_select())
        .load(conn)
}

/// A payment plan. Amounts are minor units of `currency`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = instalment_plans)]
pub struct Plan {
    pub company_id: CompanyId,
    pub id: PlanId,
    pub client_id: ClientId,
    pub agreed_on: NaiveDate,
    pub amount: i64,
    pub currency: String,
    pub interest: String,
    pub grace_days: i16,
    pub note: Option<String>,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
    pub cancelled_on: Option<NaiveDate>,
    pub cancelled_by: Option<String>,
    pub cancelled_reason: Option<String>,
}

/// A part of a plan.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = instalments)]
pub struct Instalment {
    pub company_id: CompanyId,
    pub plan_id: PlanId,
    pub number: i16,
    pub due_on: NaiveDate,
    pub amount: i64,
}

/// Writes a plan with its instalments and what it is about.
pub fn insert_plan(
    conn: &mut PgConnection,
    plan: &Plan,
    parts: &[Instalment],
    items: &[ItemId],
) -> QueryResult<()> {
    diesel::insert_into(instalment_plans::table)
        .values(plan)
        .execute(conn)?;
    diesel::insert_into(instalments::table)
        .values(parts)
        .execute(conn)?;
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            (
                plan_items::company_id.eq(plan.company_id),
                plan_items::plan_id.eq(plan.id),
                plan_items::item_id.eq(*item),
            )
        })
        .collect();
    diesel::insert_into(plan_items::table)
        .values(rows)
        .execute(conn)
        .map(drop)
}

/// `FROM instalment_plans t WHERE …`, of a client or of all.
pub fn plans_from(company: CompanyId, client: Option<ClientId>) -> Sql {
    of_client("instalment_plans", company, client)
}

/// Plans by id, in no order.
pub fn plans_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[PlanId],
) -> QueryResult<Vec<Plan>> {
    instalment_plans::table
        .filter(instalment_plans::company_id.eq(company))
        .filter(instalment_plans::id.eq_any(ids))
        .select(Plan::as_select())
        .load(conn)
}

/// The instalments of plans, in order.
pub fn instalments_of(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[PlanId],
) -> QueryResult<Vec<Instalment>> {
    instalments::table
        .filter(instalments::company_id.eq(company))
        .filter(instalments::plan_id.eq_any(ids))
        .order((instalments::plan_id, instalments::number))
        .select(Instalment::as_select())
        .load(conn)
}

/// The items of a plan.
pub fn items_of_plan(
    conn: &mut PgConnection,
    company: CompanyId,
    plan: PlanId,
) -> QueryResult<Vec<ItemId>> {
    plan_items::table
        .filter(plan_items::company_id.eq(company))
        .filter(plan_items::plan_id.eq(plan))
        .order(plan_items::item_id)
        .select(plan_items::item_id)
        .load(conn)
}

/// Where a plan stands on a day, in minor units.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct PlanStanding {
    #[diesel(sql_type = SqlUuid)]
    pub plan_id: PlanId,
    /// Paid or credited on its items since it was agreed.
    #[diesel(sql_type = BigInt)]
    pub paid: i64,
    /// What should have been, days of grace counted.
    #[diesel(sql_type = BigInt)]
    pub wanted: i64,
}

/// Where plans stand on a day.
pub fn plan_standings(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[PlanId],
    on: NaiveDate,
) -> QueryResult<Vec<PlanStanding>> {
    diesel::sql_query(
        "SELECT p.id AS plan_id, plan_paid(ROW(p.*)::instalment_plans, $3) AS paid, plan_wanted(ROW(p.*)::instalment_plans, $3) AS wanted \
         FROM instalment_plans p WHERE p.company_id = $1 AND p.id = ANY($2)",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Date, _>(on)
    .load(conn)
}

/// The plans that hold any of these items on a day, not cancelled.
pub fn plans_on_items(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
    on: NaiveDate,
) -> QueryResult<Vec<PlanId>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: PlanId,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT DISTINCT p.id FROM instalment_plans p JOIN plan_items i ON i.company_id = p.company_id AND i.plan_id = p.id \
         WHERE p.company_id = $1 AND i.item_id = ANY($2) AND (p.cancelled_on IS NULL OR p.cancelled_on > $3) \
           AND plan_paid(ROW(p.*)::instalment_plans, $3) >= plan_wanted(ROW(p.*)::instalment_plans, $3) AND plan_paid(ROW(p.*)::instalment_plans, $3) < p.amount",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(items)
    .bind::<Date, _>(on)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Takes a plan back; false when it was before.
pub fn cancel_plan(
    conn: &mut PgConnection,
    company: CompanyId,
    id: PlanId,
    on: NaiveDate,
    author: &str,
    reason: &str,
) -> QueryResult<bool> {
    diesel::update(instalment_plans::table.find((company, id)))
        .filter(instalment_plans::cancelled_on.is_null())
        .set((
            instalment_plans::cancelled_on.eq(on),
            instalment_plans::cancelled_by.eq(author),
            instalment_plans::cancelled_reason.eq(reason),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// A client on the worklist. `overdue` is minor units of the client's currency.
#[derive(Clone, Debug, QueryableByName)]
pub struct Work {
    #[diesel(sql_type = SqlUuid)]
    pub id: ClientId,
    #[diesel(sql_type = Integer)]
    pub priority: i32,
    #[diesel(sql_type = Bpchar)]
    pub currency: String,
    #[diesel(sql_type = BigInt)]
    pub overdue: i64,
    #[diesel(sql_type = Integer)]
    pub oldest_days: i32,
    #[diesel(sql_type = Integer)]
    pub last_level: i32,
    #[diesel(sql_type = Bool)]
    pub broken: bool,
    #[diesel(sql_type = Bool)]
    pub waiting: bool,
    #[diesel(sql_type = Nullable<Date>)]
    pub follow_up_on: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    pub last_contact_on: Option<NaiveDate>,
    #[diesel(sql_type = BigInt)]
    pub disputed: i64,
}

/// The worklist of a day as `FROM (…) t WHERE true`: clients with something late, or to come back to. Those in insolvency
/// proceedings and companies of the group are chased by nobody (R7.2): they come up by their day only.
///
/// Priority, in points: the late amount, one for each 1,000 units, at most 40; the age of the oldest claim, one
/// for 3 days, at most 30; 5 for each level sent; 15 for a promise broken in the last 90 days; 10 for a new or
/// risky client, and 10 for one above its credit limit; 20 when the day to come back has come; 40 less while a
/// promise or a plan runs on everything that is late.
pub fn worklist(
    company: CompanyId,
    collector: Option<UserId>,
    on: NaiveDate,
    clients: Option<&[ClientId]>,
) -> Sql {
    let mut sql = Sql::default();
    let (day, company_id) = (Bind::Day(on), Bind::Id(company.0));
    sql.push(
        "FROM (SELECT w.*, (least(40, w.overdue / (1000 * power(10, w.exponent)::bigint)) + least(30, w.oldest_days / 3) + 5 * w.last_level \
           + CASE WHEN w.broken THEN 15 ELSE 0 END + CASE WHEN w.segment = 'NEW_OR_RISKY' THEN 10 ELSE 0 END \
           + CASE WHEN w.over_limit THEN 10 ELSE 0 END + CASE WHEN w.follow_up_on <= ? THEN 20 ELSE 0 END \
           - CASE WHEN w.waiting THEN 40 ELSE 0 END)::int AS priority FROM (",
        [day.clone()],
    );
    sql.push(
        "SELECT c.id, c.currency, c.segment, y.exponent, coalesce(l.overdue, 0) AS overdue, coalesce(l.oldest_days, 0) AS oldest_days, \
           coalesce(l.last_level, 0)::int AS last_level, coalesce(l.waiting, false) AS waiting, n.follow_up_on, \
           greatest(n.done_on, a.done_on) AS last_contact_on, coalesce(l.disputed, 0)::bigint AS disputed, \
           c.credit_limit IS NOT NULL AND coalesce(l.open, 0) > c.credit_limit AS over_limit, \
           EXISTS (SELECT 1 FROM promises p WHERE p.company_id = ? AND p.client_id = c.id AND p.cancelled_on IS NULL \
             AND p.due_on < ? AND p.due_on >= ? - 90 AND p.amount > (SELECT coalesce(sum(-r.delta), 0) FROM promise_items i \
               JOIN receivable_ledger r ON r.company_id = i.company_id AND r.item_id = i.item_id AND r.recorded_at > p.recorded_at AND r.effective_on <= p.due_on \
               WHERE i.company_id = ? AND i.promise_id = p.id)) AS broken \
         FROM clients c JOIN currencies y ON y.code = c.currency LEFT JOIN (",
        [company_id.clone(), day.clone(), day.clone(), company_id.clone()],
    );
    sql.push(
        "SELECT i.client_id, sum(i.open_amount)::bigint AS open, \
             sum(i.open_amount) FILTER (WHERE i.due_on < ?)::bigint AS overdue, \
             max(? - i.due_on) FILTER (WHERE i.due_on < ?) AS oldest_days, \
             max((SELECT max(x.level) FROM dunning_action_items x WHERE x.company_id = ? AND x.item_id = i.id)) AS last_level, \
             sum((SELECT sum(least(d.amount, i.open_amount)) FROM dispute_items d JOIN disputes s ON s.company_id = d.company_id AND s.id = d.dispute_id \
               WHERE d.company_id = ? AND d.item_id = i.id AND s.closed_on IS NULL)) AS disputed, \
             bool_and(EXISTS (SELECT 1 FROM promise_items q JOIN promises m ON m.company_id = q.company_id AND m.id = q.promise_id \
                 WHERE q.company_id = ? AND q.item_id = i.id AND m.cancelled_on IS NULL AND m.due_on >= ?) \
               OR EXISTS (SELECT 1 FROM plan_items q JOIN instalment_plans p ON p.company_id = q.company_id AND p.id = q.plan_id \
                 WHERE q.company_id = ? AND q.item_id = i.id AND p.cancelled_on IS NULL AND plan_paid(ROW(p.*)::instalment_plans, ?) >= plan_wanted(ROW(p.*)::instalment_plans, ?))) \
               FILTER (WHERE i.due_on < ?) AS waiting \
           FROM items i JOIN clients k ON k.company_id = i.company_id AND k.id = i.client_id AND k.currency = i.currency \
           WHERE i.company_id = ? AND i.open_amount > 0 AND i.is_debit AND i.family = '411'",
        [
            [day.clone(), day.clone(), day.clone()],
            [company_id.clone(), company_id.clone(), company_id.clone()],
            [day.clone(), company_id.clone(), day.clone()],
            [day.clone(), day.clone(), company_id.clone()],
        ]
        .concat(),
    );
    if let Some(clients) = clients {
        let ids = clients.iter().map(|client| client.0).collect();
        sql.and("i.client_id = ANY(?)", [Bind::Ids(ids)]);
    }
    if let Some(collector) = collector {
        sql.and("k.collector_id = ?", [Bind::Id(collector.0)]);
    }
    sql.push(
        " GROUP BY i.client_id) l ON l.client_id = c.id \
         LEFT JOIN LATERAL (SELECT n.done_on, n.follow_up_on FROM collection_notes n WHERE n.company_id = ? AND n.client_id = c.id \
           ORDER BY n.id DESC LIMIT 1) n ON true \
         LEFT JOIN LATERAL (SELECT max(a.done_on) AS done_on FROM dunning_actions a WHERE a.company_id = ? AND a.client_id = c.id) a ON true \
         WHERE c.company_id = ? AND c.closed_on IS NULL AND (l.overdue > 0 AND c.insolvency = 'NONE' AND c.segment <> 'GROUP_COMPANY' OR n.follow_up_on <= ?)",
        [company_id.clone(), company_id.clone(), company_id, day],
    );
    if let Some(clients) = clients {
        let ids = clients.iter().map(|client| client.0).collect();
        sql.and("c.id = ANY(?)", [Bind::Ids(ids)]);
    }
    if let Some(collector) = collector {
        sql.and("c.collector_id = ?", [Bind::Id(collector.0)]);
    }
    sql.push(") w) t WHERE true", []);
    sql
}

/// The lines of these clients on a worklist.
pub fn work(conn: &mut PgConnection, worklist: &Sql) -> QueryResult<Vec<Work>> {
    let mut sql = Sql::new(
        "SELECT t.id, t.priority, t.currency, t.overdue, t.oldest_days, t.last_level, t.broken, t.waiting, t.follow_up_on, t.last_contact_on, t.disputed ",
    );
    sql.append(worklist);
    sql.query().load(conn)
}

/// How a client kept its promises, whose day has passed.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Reliability {
    #[diesel(sql_type = SqlUuid)]
    pub client_id: ClientId,
    #[diesel(sql_type = BigInt)]
    pub kept: i64,
    #[diesel(sql_type = BigInt)]
    pub partly: i64,
    #[diesel(sql_type = BigInt)]
    pub broken: i64,
}

/// How clients kept their promises by a day; clients that promised nothing are not among them.
pub fn reliability(
    conn: &mut PgConnection,
    company: CompanyId,
    clients: &[ClientId],
    on: NaiveDate,
) -> QueryResult<Vec<Reliability>> {
    diesel::sql_query(
        "SELECT q.client_id, count(*) FILTER (WHERE q.paid >= q.amount) AS kept, \
           count(*) FILTER (WHERE q.paid > 0 AND q.paid < q.amount) AS partly, count(*) FILTER (WHERE q.paid <= 0) AS broken \
         FROM (SELECT p.client_id, p.amount, (SELECT coalesce(sum(-l.delta), 0) FROM promise_items i JOIN receivable_ledger l \
             ON l.company_id = i.company_id AND l.item_id = i.item_id AND l.recorded_at > p.recorded_at AND l.effective_on <= p.due_on \
             WHERE i.company_id = p.company_id AND i.promise_id = p.id) AS paid \
           FROM promises p WHERE p.company_id = $1 AND p.client_id = ANY($2) AND p.due_on < $3 AND p.cancelled_on IS NULL) q \
         GROUP BY q.client_id",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(clients)
    .bind::<Date, _>(on)
    .load(conn)
}

/// A promise or a plan whose end nobody was told of.
#[derive(Clone, Debug, QueryableByName)]
pub struct Broken {
    #[diesel(sql_type = SqlUuid)]
    pub id: uuid::Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub client_id: ClientId,
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    #[diesel(sql_type = Bpchar)]
    pub currency: String,
    #[diesel(sql_type = Date)]
    pub due_on: NaiveDate,
    #[diesel(sql_type = Text)]
    pub client: String,
}

/// Promises whose day has passed and that were not kept, of the last 90 days, that no task was made of yet.
pub fn broken_promises(
    conn: &mut PgConnection,
    company: CompanyId,
    on: NaiveDate,
) -> QueryResult<Vec<Broken>> {
    diesel::sql_query(
        "SELECT p.id, p.client_id, p.amount, p.currency, p.due_on, c.name AS client FROM promises p \
         JOIN clients c ON c.company_id = p.company_id AND c.id = p.client_id \
         WHERE p.company_id = $1 AND p.due_on < $2 AND p.due_on >= $2 - 90 AND p.cancelled_on IS NULL \
           AND p.amount > (SELECT coalesce(sum(-l.delta), 0) FROM promise_items i JOIN receivable_ledger l \
             ON l.company_id = i.company_id AND l.item_id = i.item_id AND l.recorded_at > p.recorded_at AND l.effective_on <= p.due_on \
             WHERE i.company_id = p.company_id AND i.promise_id = p.id) \
           AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.company_id = p.company_id AND t.source_id = p.id AND t.kind = 'BROKEN_PROMISE')",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Date, _>(on)
    .load(conn)
}

/// Plans that are behind and that no task was made of yet.
pub fn broken_plans(
    conn: &mut PgConnection,
    company: CompanyId,
    on: NaiveDate,
) -> QueryResult<Vec<Broken>> {
    diesel::sql_query(
        "SELECT p.id, p.client_id, p.amount, p.currency, p.agreed_on AS due_on, c.name AS client FROM instalment_plans p \
         JOIN clients c ON c.company_id = p.company_id AND c.id = p.client_id \
         WHERE p.company_id = $1 AND p.cancelled_on IS NULL AND plan_paid(ROW(p.*)::instalment_plans, $2) < plan_wanted(ROW(p.*)::instalment_plans, $2) \
           AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.company_id = p.company_id AND t.source_id = p.id AND t.kind = 'BROKEN_PLAN')",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Date, _>(on)
    .load(conn)
}
